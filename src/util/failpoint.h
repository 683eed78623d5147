/*
 * Failure injection: named steps at which a debug build can be made to fail or to die.
 *
 * EMBER_FAIL_AT=step makes failpoint("step", err) return -1 with an Error; EMBER_KILL_AT=step sends
 * SIGKILL to the process there, and EMBER_STOP_AT=step SIGSTOP; EMBER_STEPS_TO=FILE appends the name of each step that is reached,
 * one a line. The tests find the names in the sources, so pass string literals, once each, before
 * every step that changes the world. Release builds compile it to 0.
 */
#pragma once

#include "util/error.h"

#ifdef EMBER_FAILPOINTS
int failpoint(const char *step, Error **err);
#else
static inline int failpoint(const char *step UNUSED, Error **err UNUSED)
{
	return 0;
}
#endif
