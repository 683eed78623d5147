#include "apart.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A program waits for the end of its input, which is a pipe of the agent's: no end of one may stay open here. */
static void keep_only(int input, int output)
{
	input = fcntl(input, F_DUPFD, 2);
	output = fcntl(output, F_DUPFD, 2);
	if (dup2(input, STDIN_FILENO) < 0)
		(void)close(STDIN_FILENO);
	(void)dup2(output, STDOUT_FILENO);
	if (syscall(SYS_close_range, 2U, ~0U, 0U) < 0)
		for (long fd = sysconf(_SC_OPEN_MAX); fd-- > 2;)
			(void)close((int)fd);
}

int apart_start(int input, int output, void (*run)(const void *arg), const void *arg)
{
	int status;
	pid_t pid = fork();

	/* A process between: it ends at once, and the init reaps the other one day. */
	if (pid == 0) {
		pid = fork();
		if (pid == 0) {
			keep_only(input, output);
			run(arg);
		}
		_exit(pid < 0);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
		return 0;
	errno = EAGAIN;
	return -1;
}
