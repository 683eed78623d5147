#include "power.h"

#include <errno.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base.h"

/* How long processes have between SIGTERM and SIGKILL, when we are PID 1. */
#define TERM_GRACE_MS 2000
/* How long an init of the image has before we use force; systemd gives its units 90 s. */
#define SYSTEMD_PATIENCE_MS 100000
#define INIT_PATIENCE_MS    30000
/* A signal sent before the init has its handlers is lost, so it is repeated. */
#define REPEAT_MS 3000

/* Wait until no child is left (for PID 1: no process at all) or the time is over. */
static void wait_for_all(uint64_t deadline)
{
	struct timespec tick = { .tv_nsec = 100000000L };
	sigset_t child;

	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &child, NULL);
	while (now_ms() < deadline) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid < 0 && errno == ECHILD)
			return;
		if (pid == 0)
			(void)sigtimedwait(&child, NULL, &tick);
	}
}

static void end_processes(void)
{
	/* Stopped processes must run to end; interactive shells ignore SIGTERM but not SIGHUP. */
	(void)kill(-1, SIGTERM);
	(void)kill(-1, SIGHUP);
	(void)kill(-1, SIGCONT);
	wait_for_all(now_ms() + TERM_GRACE_MS);
	(void)kill(-1, SIGKILL);
	wait_for_all(now_ms() + TERM_GRACE_MS);
}

#define MOUNTS_MAX 256

/* Unmount the last mounted first; what is busy, the root above all, becomes read-only. */
static void settle_filesystems(void)
{
	FILE *table = setmntent("/proc/mounts", "re");
	char *targets[MOUNTS_MAX];
	size_t count = 0;
	struct mntent *mount_point;

	while (table && count < MOUNTS_MAX && (mount_point = getmntent(table)) != NULL)
		if (mount_point->mnt_fsname[0] == '/') {
			targets[count] = strdup(mount_point->mnt_dir);
			count += targets[count] != NULL;
		}
	if (table)
		(void)endmntent(table);
	while (count-- > 0)
		if (strcmp(targets[count], "/") == 0 || umount(targets[count]) < 0)
			(void)mount(NULL, targets[count], NULL, MS_REMOUNT | MS_RDONLY, NULL);
	(void)mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
}

void power_perform(PowerAction action)
{
	end_processes();
	sync();
	settle_filesystems();
	sync();
	(void)reboot(action == POWER_REBOOT ? RB_AUTOBOOT : RB_POWER_OFF);
	(void)reboot(RB_AUTOBOOT); /* no way to cut the power: hypervisors end on a reset, too */
	for (;;)
		(void)pause();
}

static void repeat_signal(int number, uint64_t patience_ms)
{
	uint64_t deadline = now_ms() + patience_ms;

	while (now_ms() < deadline) {
		(void)kill(1, number);
		(void)usleep(REPEAT_MS * 1000);
	}
}

static void run_program(const char *name, uint64_t patience_ms)
{
	if (fork() == 0) {
		(void)execlp(name, name, (char *)NULL);
		_exit(127);
	}
	(void)usleep((useconds_t)patience_ms * 1000);
}

/* Is PID 1 the program that runs this? */
static int init_is_ours(const char *init)
{
	char self[512];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (length < 0)
		return 0;
	self[length] = '\0';
	return strcmp(self, init) == 0;
}

static void ask_init(PowerAction action)
{
	char init[512] = "";
	ssize_t length = readlink("/proc/1/exe", init, sizeof(init) - 1);
	const char *base;

	init[length < 0 ? 0 : length] = '\0';
	base = strrchr(init, '/');
	if (init_is_ours(init))
		repeat_signal(action == POWER_OFF ? POWER_SIGNAL_OFF : POWER_SIGNAL_SYSTEMD_REBOOT,
			      INIT_PATIENCE_MS);
	else if (access("/run/systemd/system", F_OK) == 0 || (base && !strcmp(base, "/systemd")))
		repeat_signal(action == POWER_OFF ? POWER_SIGNAL_SYSTEMD_OFF
						  : POWER_SIGNAL_SYSTEMD_REBOOT,
			      SYSTEMD_PATIENCE_MS);
	else if (base && strcmp(base, "/busybox") == 0)
		repeat_signal(action == POWER_OFF ? SIGUSR2 : SIGTERM, INIT_PATIENCE_MS);
	else
		run_program(action == POWER_OFF ? "poweroff" : "reboot", INIT_PATIENCE_MS);
}

void power_request(PowerAction action)
{
	if (fork() != 0)
		return;
	ask_init(action);
	power_perform(action);
}
