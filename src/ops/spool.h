/*
 * Files of what comes through pipes, and how large anything may become that is unpacked for an import: a few bytes can hold
 * more than a disk.
 */
#pragma once

#include <stdbool.h>

#include "ops/context.h"

/* Four times the largest image, as for the layers of one: size_text() has it as 256 GiB. */
#define SPOOL_BYTES_MAX (4 * (64ULL << 30))

typedef struct Spool {
	const Context *ctx;
	int from_fd;
	int to_fd; /* an empty file */
	uint64_t max_bytes;
	uint64_t done;
	bool has_ended;
} Spool;

/* Go on up to `until` bytes in all, or to the end. Blocks of zeros become holes. ERR_USAGE past max_bytes; ERR_FAILED when
 * the disk is about to be full. */
int spool_read(Spool *spool, uint64_t until, Error **err);

/* May what holds `bytes` on the filesystem of that open file or directory go on growing? Errors as above. */
int spool_check(int fd, uint64_t bytes, uint64_t max_bytes, Error **err);
/* The error of the second kind, for when a program says so itself. */
int spool_no_room(Error **err);
