/*
 * What the readers of extfs.h share: numbers on the disk, blocks, and how damage is told.
 */
#pragma once

#include <endian.h>
#include <ext2fs/ext2_fs.h>
#include <stdint.h>
#include <string.h>

#include "image/extfs.h"

static inline uint16_t get16(const void *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return le16toh(value);
}

static inline uint32_t get32(const void *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

/* Offsets in an inode. */
enum {
	INODE_MODE = 0x00,
	INODE_UID = 0x02,
	INODE_SIZE = 0x04,
	INODE_MTIME = 0x10,
	INODE_GID = 0x18,
	INODE_LINKS = 0x1a,
	INODE_FLAGS = 0x20,
	INODE_BLOCK = 0x28, /* the map, a short symlink, or a device's numbers */
	INODE_GENERATION = 0x64,
	INODE_XATTR_BLOCK = 0x68,
	INODE_SIZE_HIGH = 0x6c,
	INODE_XATTR_BLOCK_HIGH = 0x76,
	INODE_UID_HIGH = 0x78,
	INODE_GID_HIGH = 0x7a,
	INODE_CHECKSUM = 0x7c,
	INODE_CORE_SIZE = 0x80, /* of every inode; longer ones say how much more they use: */
	INODE_EXTRA_SIZE = 0x80,
	INODE_CHECKSUM_HIGH = 0x82,
	INODE_MTIME_EXTRA = 0x88,
};
#define INODE_BLOCK_SIZE 60u

/* The filesystem contradicts itself. Returns -1. */
int extfs_damaged(Error **err, const char *fmt, ...) PRINTF(2, 3);

uint32_t extfs_checksum(uint32_t seed, const void *data, size_t size);
/* The same where a checksum is a part of what it is of: the `hole` bytes (at most 4) from `at` count as zeros. */
uint32_t extfs_checksum_around(uint32_t seed, const uint8_t *data, size_t size, size_t at,
			       size_t hole);

/* Account for `count` more blocks to follow. */
int extfs_spend(Extfs *fs, uint64_t count, Error **err);
/* Do all these blocks exist? */
bool extfs_has_blocks(const Extfs *fs, uint64_t block, uint64_t count);
/* One block of metadata, checked and accounted for. */
int extfs_read_block(Extfs *fs, uint64_t block, void *data, Error **err);

/* Also one that the filesystem keeps for itself. */
int extfs_read_own_inode(Extfs *fs, uint32_t number, ExtInode *out, Error **err);

/* Does the journal that lies in inode `number` hold changes? One that cannot be read may. Also its size. */
bool extfs_journal_is_used(Extfs *fs, uint32_t number, uint64_t *out_blocks);

/* Attributes stored in the inode: "system.data" is what does not fit beside the map of an inline file. NULL: none. */
int extfs_inline_rest(const Extfs *fs, const ExtInode *inode, const uint8_t **out_data,
		      size_t *out_size, Error **err);
