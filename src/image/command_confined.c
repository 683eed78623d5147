/*
 * Another program in ember-image's place, with a stranger's bytes as its standard input and no more than it needs to read
 * them: unpackers write to standard output, and what opens files by name finds them as /dev/fd/0, to read, and as
 * /dev/fd/3, to fill.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/commands.h"
#include "image/confine.h"
#include "image/worker.h"
#include "util/mem.h"

#define TARGET_FD 3
#define LOG_BYTES 65536u /* its complaints */

/* A file to fill has its size already. */
static uint64_t target_size(void)
{
	struct stat st;

	return fstat(TARGET_FD, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

static int start(char *argv[], Error **err)
{
	const pid_t parent = getppid();
	char *const env[] = { (char *)(uintptr_t) "LC_ALL=C", NULL };
	bool has_target = fcntl(TARGET_FD, F_GETFD) >= 0;
	ProgramNeeds needs = { .program = argv[0],
			       .read_fd = has_target ? STDIN_FILENO : -1,
			       .write_fd = has_target ? TARGET_FD : -1,
			       .max_bytes = has_target ? target_size() : 0 };

	if (needs.max_bytes < LOG_BYTES)
		needs.max_bytes = LOG_BYTES;
	if (confine_program(&needs, err) < 0)
		return -1;
	/* The change of user let go of whoever started us for a moment. */
	if (getppid() != parent)
		return error_set(err, ERR_CANCELED, "interrupted");
	(void)execve(argv[0], argv, env);
	return error_set_errno(err, errno, "run '%s'", argv[0]);
}

int command_confined(int argc, char *argv[])
{
	auto_error error = NULL;

	if (argc < 2)
		error_set(&error, ERR_USAGE, "confined: which program?");
	else
		(void)start(argv + 1, &error);
	return worker_report(error);
}
