/*
 * The ext4 filesystem around the file data.
 *
 * The data is on the disk already when the layout is decided (ext4_plan() keeps the few fixed places free), so that the
 * image is as large as its content needs and no larger: bitmaps, inode tables and directories follow the data, as
 * flex_bg allows. libext2fs makes the superblock, group descriptors, bitmaps, journal, resize inode and extended
 * attributes; directories, extents and inode tables are written in bulk.
 *
 * Features: 64bit, metadata_csum, flex_bg, extents, 4 KiB blocks, 256-byte inodes, a journal, hashed directories,
 * and a resize inode with room for a terabyte, so that a running guest can grow it. Same tree, same bytes: nothing depends on the clock.
 * Format: Documentation/filesystems/ext4 in the Linux sources.
 */
#pragma once

#include <stdint.h>

#include "image/disk.h"
#include "image/tree.h"
#include "util/error.h"

#define EXT4_MAX_BYTES (4ull << 40) /* whose group descriptors the resize inode can reserve */

typedef struct Ext4Params {
	uint64_t max_bytes; /* of the image */
	int64_t time;	    /* the filesystem's birth, seconds since 1970 */
	uint8_t uuid[16];
} Ext4Params;

/* Give `map` all blocks below `max_bytes` but those that the superblock and its copies need. */
void ext4_plan(BlockMap *map, uint64_t max_bytes);

/* Write the filesystem; the file gets its final size. The tree gains /lost+found and its inodes their numbers. */
int ext4_write(Disk *disk, Tree *tree, const Ext4Params *params, uint64_t *out_size_bytes,
	       Error **err);
