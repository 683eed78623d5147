/*
 * Death in the middle of a change.
 */
#pragma once

#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

/* Do the act in a child that kills itself at the failpoint `step` (EMBER_KILL_AT). Whether it came there. */
__attribute__((unused)) static bool dies_at(const char *step, void (*act)(void))
{
	int status = 0;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		(void)setenv("EMBER_KILL_AT", step, 1);
		act();
		_exit(0);
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status);
}
