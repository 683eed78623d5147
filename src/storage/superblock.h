/*
 * What is on a file or device that is to become a managed store: ours, somebody's, or nothing.
 *
 * The label of a store's filesystem names the installation it belongs to. Formats: btrfs
 * (Documentation/dev/On-disk-format: superblock at 64 KiB), XFS (XFS Algorithms & Data Structures:
 * superblock at 0), ZFS (ZFS On-Disk Specification, chapter 1: a label of name-value pairs in XDR at 16 KiB); the others are known by the magic numbers that blkid(8) goes by, only to say a
 * name in an error. What does not begin with zeros is never formatted; what only the end of a device
 * tells (RAID, a backup partition table) mkfs finds itself, and refuses.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define SUPERBLOCK_LABEL_MAX 64 /* btrfs and ZFS have room for more, XFS for less */

typedef struct Superblock {
	const char *kind; /* "btrfs", "xfs", "ext4"...; "unknown data"; NULL: empty */
	char label[SUPERBLOCK_LABEL_MAX +
		   1]; /* of btrfs and XFS; of ZFS the pool's name; printable */
} Superblock;

/* `head` is the first `len` bytes. `kind` stays NULL when nothing is recognised. */
void superblock_parse(const uint8_t *head, size_t len, Superblock *out);
/* The same for an open file or device, where anything but zeros is "unknown data" at least. */
int superblock_read(int fd, uint64_t size_bytes, Superblock *out, Error **err);
