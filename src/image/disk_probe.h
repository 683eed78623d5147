/*
 * Where on a disk the root filesystem is: the whole disk, or one of its partitions (GPT or MBR). Other filesystems are
 * recognised only to be named.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

typedef struct DiskPlace {
	uint64_t offset; /* in bytes */
	uint64_t size;
} DiskPlace;

/* The ext4 root of the disk of `size` bytes behind `fd`. ERR_UNSUPPORTED naming what is there instead; ERR_USAGE when
 * there are several that could be it. */
int disk_probe(int fd, uint64_t size, DiskPlace *out, Error **err);
/* The filesystem that somebody says begins at `offset`; it may reach to the end of the disk. */
int disk_probe_at(int fd, uint64_t size, uint64_t offset, DiskPlace *out, Error **err);
