/*
 * The image's own command, which PID 1 runs when the kernel command line asks for it:
 *
 *	ember.run=1		run the entrypoint and cmd of image.json (document.h)
 *	ember.env=NAME=VALUE	on top of the image's environment; may be repeated
 *	ember.user=USER		instead of the image's user
 *
 * Values are percent-encoded. What the command prints goes to the console, and so does how it ended; the machine
 * stays up.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

bool command_is_wanted(const char *cmdline);

/* Start it. Its pid, or -1: the console was told why. */
pid_t command_start(const char *cmdline);

/* Tell the console how it ended. */
void command_report(int wait_status);
