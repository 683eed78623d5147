/*
 * Growing a mounted ext4 to its block device.
 *
 * In a kernel that is slow or wrong this takes minutes or the life of who asks for it, so a process of its own does it, step by
 * step: between two steps the filesystem can be frozen or the machine turned off, and one that is cut off loses a step.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Has the device that `path` is on another size than *known_bytes? Then *known_bytes is that. */
bool resize_is_due(const char *path, uint64_t *known_bytes);

typedef struct ResizeReport {
	int errnum; /* 0, or why it failed: EOPNOTSUPP when it is not an ext4 */
	uint64_t
		bytes; /* the filesystem's size in the end: the device's, or the largest that it has room to grow to */
} ResizeReport;

/*
 * Start growing what is mounted at `path`, which may be as large as its device already. *out_report (non-blocking) is
 * read for one ResizeReport; with that closed, the process goes on by itself, unless another one is at it. 0, or -1 with
 * errno.
 */
int resize_start(const char *path, int *out_report);

/* A superblock of ext4, as far as growing goes. */
typedef struct ResizeShape {
	uint64_t block_bytes;
	uint64_t blocks;     /* that it has */
	uint64_t blocks_max; /* that its descriptors have room for */
} ResizeShape;

#define RESIZE_SUPER_BYTES 1024

/* From the superblock's bytes (linux/fs/ext4/ext4.h). False when it is none. */
bool resize_read_shape(const uint8_t super[RESIZE_SUPER_BYTES], ResizeShape *out_shape);

/* How many blocks the next step grows it to, on a device of `device_bytes`; shape->blocks when there is nothing to do. */
uint64_t resize_next(const ResizeShape *shape, uint64_t device_bytes);
