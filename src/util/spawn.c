#include "util/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

/* Above what the program finds open. */
#define REPORT_FD_MIN 10

typedef struct Spawn {
	const Command *cmd;
	int out_fd;
	int err_fd;
	bool own_group;
	char **environment;
	pid_t parent;
	int report_fd; /* the errno of what fails, until the program runs */
} Spawn;

/* Our environment with the command's own words in front of what they replace. Borrowed strings. */
static char **merge_environment(const Command *cmd)
{
	size_t count = 0, used = 0;
	char **merged;

	while (environ[count])
		count++;
	merged = xcalloc(count + cmd->env.count + 1, sizeof(char *));
	for (size_t i = 0; i < count; i++) {
		bool replaced = false;

		for (size_t j = 0; j < cmd->env.count && !replaced; j++) {
			size_t name_len = strcspn(cmd->env.items[j], "=") + 1;

			replaced = !strncmp(environ[i], cmd->env.items[j], name_len);
		}
		if (!replaced)
			merged[used++] = environ[i];
	}
	for (size_t j = 0; j < cmd->env.count; j++)
		merged[used++] = cmd->env.items[j];
	return merged;
}

/* What we catch is nothing that the program knows of; nor shall it ignore what we do. */
static void reset_signals(void)
{
	sigset_t none;

	for (int signum = 1; signum < NSIG; signum++) {
		struct sigaction action;

		if (sigaction(signum, NULL, &action) < 0 || action.sa_handler == SIG_DFL ||
		    (action.sa_handler == SIG_IGN && signum != SIGPIPE && signum != SIGINT))
			continue;
		(void)signal(signum, SIG_DFL);
	}
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Open, and not closed by execve(). */
static int place_fd(int fd, int target, int null_flags)
{
	auto_fd null_fd = -1;

	if (fd < 0)
		fd = null_fd = open("/dev/null", null_flags | O_CLOEXEC);
	if (fd == target) {
		steal_fd(&null_fd);
		return fcntl(fd, F_SETFD, 0);
	}
	return dup2(fd, target);
}

/* In the child; returns only when something fails, with errno. */
static void become(const Spawn *spawn)
{
	const Command *cmd = spawn->cmd;

	if (cmd->new_session && setsid() < 0)
		return;
	if (!cmd->new_session && spawn->own_group && setpgid(0, 0) < 0)
		return;
	reset_signals();
	if (place_fd(cmd->stdin_fd, STDIN_FILENO, O_RDONLY) < 0 ||
	    place_fd(spawn->out_fd, STDOUT_FILENO, O_WRONLY) < 0 ||
	    place_fd(spawn->err_fd, STDERR_FILENO, O_WRONLY) < 0 ||
	    (cmd->pass_fd >= 0 && place_fd(cmd->pass_fd, 3, O_RDWR) < 0) ||
	    (cmd->dir && chdir(cmd->dir) < 0) ||
	    (cmd->is_tied && os_die_with(spawn->parent, SIGTERM) < 0))
		return;
	(void)execvpe(cmd->argv.items[0], cmd->argv.items, spawn->environment);
}

/* Signals are held until the child has none of our handlers left. */
static pid_t fork_quietly(const Spawn *spawn)
{
	sigset_t all, before;
	pid_t pid;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0) {
		int failure;

		become(spawn);
		failure = errno;
		(void)!write(spawn->report_fd, &failure, sizeof(failure));
		_exit(127);
	}
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

/* 0 once the program runs, else an errno. */
static int start(Spawn *spawn, pid_t *out_pid)
{
	auto_fd read_end = -1;
	auto_fd write_end = -1;
	auto_fd report_fd = -1;
	int ends[2], failure = 0;
	ssize_t got;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return errno;
	read_end = ends[0];
	write_end = ends[1];
	report_fd = fcntl(write_end, F_DUPFD_CLOEXEC, REPORT_FD_MIN);
	close_fd(&write_end);
	if (report_fd < 0)
		return errno;
	spawn->report_fd = report_fd;
	pid = fork_quietly(spawn);
	if (pid < 0)
		return errno;
	close_fd(&report_fd);
	do
		got = read(read_end, &failure, sizeof(failure));
	while (got < 0 && errno == EINTR);
	if (got != (ssize_t)sizeof(failure)) {
		*out_pid = pid;
		return 0;
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	return failure;
}

int spawn_command(const Command *cmd, int out_fd, int err_fd, bool own_group, pid_t *out_pid,
		  Error **err)
{
	auto_free char **environment = merge_environment(cmd);
	Spawn spawn = { cmd, out_fd, err_fd, own_group, environment, getpid(), -1 };
	int failure = start(&spawn, out_pid);

	if (failure == ENOENT) {
		auto_free char *hint = program_install_hint(cmd->argv.items[0]);

		error_set(err, ERR_MISSING_TOOL, "'%s' is not installed",
			  path_basename(cmd->argv.items[0]));
		return error_hint(err, "%s", hint);
	}
	if (failure)
		return error_set_errno(err, failure, "start '%s'", cmd->argv.items[0]);
	return 0;
}
