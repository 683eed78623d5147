#include "util/failpoint.h"

#ifdef EMBER_FAILPOINTS
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

/* One write for each line: several processes append to the same file. */
static void note_step(const char *path, const char *step)
{
	auto_fd fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0)
		(void)dprintf(fd, "%s\n", step);
}

int failpoint(const char *step, Error **err)
{
	const char *fail = getenv("EMBER_FAIL_AT");
	const char *die = getenv("EMBER_KILL_AT");
	const char *stop = getenv("EMBER_STOP_AT");
	const char *steps = getenv("EMBER_STEPS_TO");

	if (steps)
		note_step(steps, step);
	if (die && !strcmp(die, step))
		(void)raise(SIGKILL);
	if (stop && !strcmp(stop, step))
		(void)raise(SIGSTOP);
	if (fail && !strcmp(fail, step))
		return error_set(err, ERR_FAILED, "made to fail at step '%s'", step);
	return 0;
}
#endif
