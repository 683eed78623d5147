#include "image/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/events.h"
#include "util/fs.h"
#include "util/mem.h"

static int announce(const Error *error, const char *bad_blob)
{
	event_error(error, bad_blob);
	return error_exit_status(error_code(error));
}

int worker_report(const Error *error)
{
	return announce(error, NULL);
}

static int work(const Worker *worker, int report_fd, pid_t parent)
{
	auto_error error = NULL;

	if (getppid() != parent)
		return EXIT_FAILURE;
	/* When nobody reads its events any more, nobody wants its work either. */
	(void)signal(SIGPIPE, SIG_DFL);
	if (worker->run(worker->arg, worker->report, &error) < 0 ||
	    (worker->report_size > 0 &&
	     fs_write_all(report_fd, worker->report, worker->report_size, &error) < 0))
		return announce(error, worker->bad_blob ? *worker->bad_blob : NULL);
	return EXIT_SUCCESS;
}

/* Wait for the worker. Returns its exit status, or that of an interrupt or crash once it has been announced. */
static int watch(Worker *worker, pid_t pid, const sigset_t *signals)
{
	auto_error error = NULL;
	int status = 0;
	bool canceled = false;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		int signum = sigwaitinfo(signals, NULL);

		if (signum > 0 && signum != SIGCHLD) {
			canceled = true;
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, &status, 0);
			break;
		}
	}
	if (!canceled && WIFEXITED(status))
		return WEXITSTATUS(status);
	worker->was_ended = true;
	canceled = canceled || WTERMSIG(status) == SIGPIPE;
	if (canceled) {
		error_set(&error, ERR_CANCELED, "interrupted");
		error_hint(&error, "nothing was left behind; run it again when ready");
	} else {
		error_set(&error, ERR_FAILED, "the %s was killed by signal %d", worker->title,
			  WTERMSIG(status));
		error_hint(&error, "see whether memory ran out: dmesg | tail");
	}
	return worker_report(error);
}

/* The signals that matter. */
static void block_signals(sigset_t *out)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(out);
	(void)sigaddset(out, SIGINT);
	(void)sigaddset(out, SIGTERM);
	(void)sigaddset(out, SIGHUP);
	(void)sigaddset(out, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, out, NULL);
}

static int read_report(const Worker *worker, int fd, Error **err)
{
	if (worker->report_size > 0 &&
	    read(fd, worker->report, worker->report_size) != (ssize_t)worker->report_size)
		return error_set(err, ERR_FAILED, "the %s ended without a word", worker->title);
	return 0;
}

void worker_hold_signals(void)
{
	sigset_t signals;

	block_signals(&signals);
}

int worker_run(Worker *worker, Error **err)
{
	int ends[2];
	pid_t parent = getpid();
	sigset_t signals;
	pid_t pid;
	int status;

	block_signals(&signals);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "make a pipe");
	auto_fd read_end = ends[0];
	auto_fd write_end = ends[1];

	pid = fork();
	if (pid < 0)
		return error_set_errno(err, errno, "start the %s", worker->title);
	if (pid == 0)
		_exit(work(worker, write_end, parent));
	close_fd(&write_end);
	status = watch(worker, pid, &signals);
	if (status == EXIT_SUCCESS && read_report(worker, read_end, err) < 0)
		return -1;
	return status;
}
