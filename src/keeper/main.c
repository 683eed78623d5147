/*
 * ember-keeper: the parent of one VM's hypervisor.
 *
 *	ember-keeper --plan FILE --ready-fd N [--adopt PID:STARTED]
 *
 * `ember vm start` starts it with a launch plan (model/launch.h) and waits on the other end of the
 * pipe N for the answer (ready.h). It starts the hypervisor, connects to its monitor and to the
 * guest's agent, serves keeper.sock (control.h), and when the hypervisor has ended it says why, puts
 * everything away (ending.h) and leaves. It is not a daemon: no VM, no keeper.
 *
 * Killed, it takes nothing with it: the VM goes on, and the next command starts a keeper with
 * --adopt, which connects to what is there. Of an adopted hypervisor nobody learns the exit status.
 *
 * If the command that starts a VM dies before the answer, nobody will ever record that VM: the
 * keeper sees the pipe closed, ends the hypervisor and cleans up, as after any failed start. If it
 * dies after the answer and before its record is written, the record says `starting` without a
 * process; the VM runs, has a keeper and carries its name, and reconcile finds it by that.
 *
 * Signals have their default action; in particular SIGTERM ends the keeper and not the VM.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/keeper.h"
#include "keeper/log.h"
#include "keeper/ready.h"
#include "state/launch.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/str.h"

#define LARGE_BUFFER_BYTES (64 * 1024)

typedef struct Options {
	const char *plan;
	int ready_fd;
	bool adopts;
	ProcId adopt;
} Options;

/* "PID:STARTED" */
static bool parse_process(const char *text, ProcId *out_id)
{
	const char *colon = strchr(text, ':');
	auto_free char *pid_text = colon ? xstrndup(text, (size_t)(colon - text)) : NULL;
	uint64_t pid, started;

	if (!colon || !str_parse_u64(pid_text, INT_MAX, &pid) || pid == 0 ||
	    !str_parse_u64(colon + 1, UINT64_MAX, &started))
		return false;
	*out_id = (ProcId){ .pid = (pid_t)pid, .started = started };
	return true;
}

static bool parse_options(int argc, char **argv, Options *options)
{
	uint64_t fd;

	*options = (Options){ .ready_fd = -1 };
	for (int i = 1; i + 1 < argc; i += 2) {
		const char *value = argv[i + 1];

		if (!strcmp(argv[i], "--plan")) {
			options->plan = value;
		} else if (!strcmp(argv[i], "--ready-fd") && str_parse_u64(value, INT_MAX, &fd)) {
			options->ready_fd = (int)fd;
		} else if (!strcmp(argv[i], "--adopt") && parse_process(value, &options->adopt)) {
			options->adopts = true;
		} else {
			return false;
		}
	}
	return argc % 2 == 1 && options->plan && options->plan[0] == '/' &&
	       options->ready_fd > STDERR_FILENO;
}

/* Nothing of the command that started us stays open, and every client gets a descriptor. */
static void tidy_process(int ready_fd)
{
	struct rlimit files;

	(void)fcntl(ready_fd, F_SETFD, FD_CLOEXEC);
	if (ready_fd > STDERR_FILENO + 1)
		(void)close_range(STDERR_FILENO + 1, (unsigned)ready_fd - 1, 0);
	(void)close_range((unsigned)ready_fd + 1, UINT_MAX, 0);
	/* A client's buffers go back to the system when it leaves, also after many came at once. */
	(void)mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(077);
	if (chdir("/") < 0)
		log_line("cannot leave the working directory: it stays busy");
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* stdin from nothing; what we and our libraries print goes to keeper.log. */
static int redirect_stdio(const LaunchPlan *plan, bool adopts, Error **err)
{
	auto_free char *path = path_join(plan->vm_dir, "keeper.log");
	int flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | (adopts ? 0 : O_TRUNC);
	auto_fd null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	auto_fd log_fd = open(path, flags, 0600);

	if (log_fd < 0)
		return error_set_errno(err, errno, "open '%s'", path);
	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
	    dup2(log_fd, STDERR_FILENO) < 0)
		return error_set_errno(err, errno, "redirect to '%s'", path);
	(void)setvbuf(stderr, NULL, _IOLBF, 0);
	return 0;
}

int main(int argc, char **argv)
{
	auto_launch_plan LaunchPlan plan = { 0 };
	auto_error err = NULL;
	Options options;

	if (argc == 2 && !strcmp(argv[1], "--version")) {
		(void)puts("ember-keeper " EMBER_VERSION);
		return EXIT_SUCCESS;
	}
	if (!parse_options(argc, argv, &options)) {
		(void)fputs("ember-keeper: it is started by ember: --plan FILE --ready-fd N "
			    "[--adopt PID:STARTED]\n",
			    stderr);
		return 2;
	}
	tidy_process(options.ready_fd);
	if (launch_plan_read(options.plan, &plan, &err) < 0 ||
	    redirect_stdio(&plan, options.adopts, &err) < 0) {
		ready_say_error(options.ready_fd, err);
		return EXIT_FAILURE;
	}
	log_line("ember-keeper " EMBER_VERSION " %s vm '%s'", options.adopts ? "adopts" : "starts",
		 plan.vm_name);
	return keeper_run(&plan, options.adopts ? &options.adopt : NULL, options.ready_fd);
}
