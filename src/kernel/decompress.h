/*
 * Decompression by the programs that every Debian has or can have: ember itself links no
 * compression library.
 */
#pragma once

#include "util/error.h"

/* All of `in_fd`, from where it stands, through `program -d -c` into the new file `out_path`. */
int decompress_fd(const char *program, int in_fd, const char *out_path, Error **err);
/* The program for a file of that name (.xz, .zst, .gz), or NULL when it is not compressed. */
const char *decompress_program(const char *file_name);
