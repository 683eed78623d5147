/*
 * The kernel command line: `name=value` words separated by spaces.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Longer than any architecture's COMMAND_LINE_SIZE of interest (x86: 2048). */
#define CMDLINE_MAX 4096

/* Copy the value of the last `name=value` to `out` (cut to `size`). False when it is absent. */
bool cmdline_value(const char *cmdline, const char *name, char *out, size_t size);

/* Is the bare word there? */
bool cmdline_has(const char *cmdline, const char *wanted);

/* Decode "a%20b" in place. False for a percent sign that is not followed by two hex digits, and for a NUL. */
bool percent_decode(char *text);
