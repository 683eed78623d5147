/*
 * Giving up what a parser of hostile files must not have.
 *
 * The builder needs nothing but the files it has opened and, while it looks for a layout's blobs, to read below that
 * layout. Each barrier is put up where the kernel has it; what it lacks is passed over, since every one of them is a second
 * line of defence.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

/* No new privileges, limits of memory and files, no path but those below `dir_fds` (-1 entries are skipped) and those only
 * to read; root becomes nobody, who may still read what is root's until confine_finish(). */
int confine_begin(const int *dir_fds, size_t count, Error **err);

/* All files are open: only the system calls of reading, writing and memory are left. */
int confine_finish(Error **err);

/* What a program that reads a stranger's bytes is allowed. -1: no such file. */
typedef struct ProgramNeeds {
	const char *program; /* its path */
	int read_fd;	     /* it may open that again, by its name in /dev/fd */
	int write_fd;	     /* and that one, to write as well */
	bool is_privileged; /* write_fd is a file that nobody must not own: root may still write to it */
	uint64_t max_bytes; /* no file that it writes becomes larger */
} ProgramNeeds;

/* Before another program is run: no new privileges, limits of memory, time and files, nobody instead of root, no network, and
 * no path but those of programs, to read, and what it needs. */
int confine_program(const ProgramNeeds *needs, Error **err);
