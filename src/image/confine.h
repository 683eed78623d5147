/*
 * Giving up what a parser of hostile files must not have.
 *
 * The builder needs nothing but the files it has opened and, while it looks for a layout's blobs, to read below that
 * layout. Each barrier is put up where the kernel has it; what it lacks is passed over, since every one of them is a second
 * line of defence.
 */
#pragma once

#include "util/error.h"

/* No new privileges, limits of memory and files, no path but those below `dir_fds` (-1 entries are skipped) and those only
 * to read; root becomes nobody, who may still read what is root's until confine_finish(). */
int confine_begin(const int *dir_fds, size_t count, Error **err);

/* All files are open: only the system calls of reading, writing and memory are left. */
int confine_finish(Error **err);

/* Before `program` is run: no new privileges, limits, nobody instead of root, and no path but it, those of programs and
 * libraries, to read, and that of `file_fd`, to read and write by its name in /dev/fd. */
int confine_program(const char *program, int file_fd, Error **err);
