/*
 * Partition tables: GPT (UEFI specification, chapter 5) with sectors of 512 or 4,096 bytes, and MBR with logical
 * partitions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define PARTITIONS_MAX 256u

typedef struct Partition {
	uint64_t offset; /* in bytes; within the disk, as the size */
	uint64_t size;
	unsigned number; /* as the kernel counts it */
	bool is_root;	 /* GPT only: its type says so, for this machine's architecture */
} Partition;

typedef struct Partitions {
	Partition items[PARTITIONS_MAX];
	size_t count;
} Partitions;

/* No table at all is no error, only an empty list. */
int partitions_read(int fd, uint64_t disk_size, Partitions *out, Error **err);
