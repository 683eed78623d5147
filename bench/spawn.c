/*
 * spawn RUNS COMMAND... :: REFERENCE...: how long two commands take from posix_spawn to their exit,
 * turn by turn in one run, so that what disturbs one disturbs the other. Their output goes to
 * /dev/null. Prints JSON with both and the command's peak memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { WARM_UP_RUNS = 3 };

static uint64_t run(char **argv, posix_spawn_file_actions_t *actions, long *out_peak_kib)
{
	uint64_t began = now_ns();
	struct rusage usage;
	pid_t pid;
	int status;

	if (posix_spawnp(&pid, argv[0], actions, NULL, argv, environ) != 0 ||
	    wait4(pid, &status, 0, &usage) < 0) {
		perror(argv[0]);
		exit(EXIT_FAILURE);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		(void)fprintf(stderr, "spawn: '%s' failed with status %d\n", argv[0], status);
		exit(EXIT_FAILURE);
	}
	*out_peak_kib = usage.ru_maxrss;
	return now_ns() - began;
}

int main(int argc, char **argv)
{
	posix_spawn_file_actions_t actions;
	Samples ours = { 0 }, reference = { 0 };
	long peak_kib = 0, ignored;
	int runs = argc > 3 ? atoi(argv[1]) : 0;
	int split = 2;

	while (split < argc && strcmp(argv[split], "::") != 0)
		split++;
	if (runs < 1 || split == 2 || split + 1 >= argc) {
		(void)fprintf(stderr, "usage: spawn RUNS COMMAND... :: REFERENCE...\n");
		return 2;
	}
	argv[split] = NULL;
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	(void)posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	for (int i = -WARM_UP_RUNS; i < runs; i++) {
		uint64_t our_ns = run(argv + 2, &actions, &peak_kib);
		uint64_t reference_ns = run(argv + split + 1, &actions, &ignored);

		if (i >= 0) {
			samples_add(&ours, our_ns);
			samples_add(&reference, reference_ns);
		}
	}
	printf("{");
	samples_print("ours", &ours, ",");
	samples_print("reference", &reference, ",");
	printf("\"peak_kib\":%ld}\n", peak_kib);
	return EXIT_SUCCESS;
}
