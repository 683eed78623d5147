#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "base.h"
#include "cmdline.h"
#include "command.h"
#include "identity.h"
#include "mounts.h"
#include "net.h"
#include "power.h"
#include "resize.h"

/* An agent that ends at once must not keep the machine busy. */
#define AGENT_RESTART_MS 1000
/* What grows the root filesystem goes on after that, beside the rest of the boot. */
#define GROW_PATIENCE_MS 5000
/* Fds for WIRE_STREAMS_MAX programs of four pipes. */
#define AGENT_FILES 8192

static void __attribute__((noreturn)) run_agent(void)
{
	struct rlimit files = { .rlim_cur = AGENT_FILES, .rlim_max = 524288 };
	auto_fd oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	(void)setsid();
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setrlimit(RLIMIT_NOFILE, &files);
	/* Without the agent the host can neither look into nor end a machine that is out of memory.
	 */
	if (oom >= 0)
		(void)write_all(oom, "-1000", 5);
	for (int fd = 0; fd <= 2; fd++)
		(void)dup2(null, fd);
	if (null > 2)
		(void)close(null);
	(void)prctl(PR_SET_NAME, "ember-agent");
	_exit(agent_run(-1) < 0);
}

static pid_t start_agent(void)
{
	pid_t pid = fork();

	if (pid == 0)
		run_agent();
	if (pid < 0)
		complain("cannot start the agent: %s", strerror(errno));
	return pid;
}

/* By another process: what the kernel makes of it, up to its death, does not end the boot, nor does it wait for long. */
static void grow_root(void)
{
	struct pollfd grown = { .fd = -1, .events = POLLIN };

	if (resize_start("/", &grown.fd) < 0)
		return;
	(void)poll(&grown, 1, GROW_PATIENCE_MS);
	close_fd(&grown.fd);
}

static void prepare(char *cmdline, size_t size)
{
	NetConfig net;

	mounts_base();
	if (read_text("/proc/cmdline", cmdline, size) < 0)
		cmdline[0] = '\0';
	/* An older disk in a larger volume; no news, and no complaint, when it fits or cannot. */
	grow_root();
	identity_boot(cmdline);
	net_loopback_up();
	if (net_parse_boot_parameter(cmdline, &net))
		net_configure(&net);
}

static bool file_contains(const char *path, const char *text)
{
	char *content = read_file(path, (size_t)1024 * 1024);
	bool found = content && strstr(content, text);

	free(content);
	return found;
}

/*
 * Is that link of busybox meant to be the init? Every busybox has the applet, so images carry it
 * without ever having booted: it takes an inittab, whose OpenRC is there if it is named.
 */
static bool busybox_is_set_up(void)
{
	if (access("/etc/inittab", R_OK) < 0)
		return access("/etc/init.d/rcS", X_OK) == 0;
	return !file_contains("/etc/inittab", "/sbin/openrc") || access("/sbin/openrc", X_OK) == 0;
}

/* The image's own init, written to `buffer`, or NULL. */
static char *find_init(const char *cmdline, char *buffer, size_t size)
{
	static const char *const candidates[] = {
		"/sbin/init",
		"/usr/sbin/init",
		"/lib/systemd/systemd",
		"/usr/lib/systemd/systemd",
	};

	if (cmdline_value(cmdline, "ember.init", buffer, size))
		return strcmp(buffer, "none") == 0 ? NULL : buffer;
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		char real[4096];
		const char *base;

		if (!realpath(candidates[i], real) || access(real, X_OK) < 0)
			continue;
		base = strrchr(real, '/') + 1;
		if (strcmp(base, "ember-guest") == 0)
			continue;
		if (strcmp(base, "busybox") != 0 || busybox_is_set_up()) {
			(void)snprintf(buffer, size, "%s", candidates[i]);
			return buffer;
		}
	}
	return NULL;
}

/* Reap everybody's orphans, keep the agent alive, say how the command ended, obey the signals that ask for the end. */
static void __attribute__((noreturn)) stay(pid_t agent, pid_t command)
{
	sigset_t set;

	(void)sigfillset(&set);
	(void)reboot(RB_DISABLE_CAD); /* ctrl-alt-del becomes SIGINT */
	for (;;) {
		int number = sigwaitinfo(&set, NULL), status;
		pid_t pid;

		if (number == SIGTERM || number == SIGINT || number == SIGPWR ||
		    number == POWER_SIGNAL_OFF || number == POWER_SIGNAL_SYSTEMD_OFF)
			power_perform(POWER_OFF);
		if (number == POWER_SIGNAL_SYSTEMD_REBOOT)
			power_perform(POWER_REBOOT);
		while (number == SIGCHLD && (pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == agent) {
				(void)usleep(AGENT_RESTART_MS * 1000);
				agent = start_agent();
			} else if (pid == command) {
				command_report(status);
				command = -1;
			}
	}
}

/* From the first child on: one that ends before stay() waits must not be missed. */
static void block_signals(void)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
}

void init_run(void)
{
	char cmdline[CMDLINE_MAX], buffer[256];
	char *image_init;
	bool has_command;
	pid_t agent;

	(void)chdir("/");
	(void)umask(022);
	prepare(cmdline, sizeof(cmdline));
	has_command = command_is_wanted(cmdline);
	image_init = has_command ? NULL : find_init(cmdline, buffer, sizeof(buffer));
	if (image_init) {
		(void)start_agent();
		become_init(image_init);
		complain("cannot run %s: %s", image_init, strerror(errno));
		block_signals();
		stay(-1, -1);
	}
	mounts_full();
	block_signals();
	agent = start_agent();
	stay(agent, has_command ? command_start(cmdline) : -1);
}
