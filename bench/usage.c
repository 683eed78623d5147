/*
 * usage COMMAND...: what a command and its children cost, as one line of JSON: CPU (user and system)
 * and elapsed nanoseconds, and the peak memory of the largest of them. Its output goes to stderr.
 *
 * A program of its own, because a child's peak begins with that of the program it was forked from.
 */
#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static uint64_t ns(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000000U + (uint64_t)time->tv_usec * 1000U;
}

int main(int argc, char **argv)
{
	posix_spawn_file_actions_t actions;
	struct rusage usage;
	uint64_t began;
	pid_t pid;
	int status;

	if (argc < 2) {
		(void)fprintf(stderr, "usage: usage COMMAND...\n");
		return 2;
	}
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	began = now_ns();
	if ((errno = posix_spawnp(&pid, argv[1], &actions, NULL, argv + 1, environ)) != 0 ||
	    wait4(pid, &status, 0, &usage) < 0) {
		perror(argv[1]);
		return EXIT_FAILURE;
	}
	printf("{\"elapsed_ns\":%" PRIu64 ",\"cpu_ns\":%" PRIu64 ",\"peak_kib\":%ld}\n",
	       now_ns() - began, ns(&usage.ru_utime) + ns(&usage.ru_stime), usage.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}
