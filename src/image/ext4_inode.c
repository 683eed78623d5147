#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "image/ext4_format.h"
#include "util/mem.h"

/*
 * Inodes and extent trees (Documentation/filesystems/ext4/{inodes,ifork}.rst).
 */

#define EXTENT_MAX_BLOCKS 32768u /* of one initialised extent on disk */
#define NODE_ENTRIES	  340u	 /* of 12 bytes, behind a header of 12 and before a checksum of 4 */
#define NODE_MAGIC	  0xf30au
#define CHECKSUM_AT	  (BLOCK_SIZE - 4u)

/* An entry of a leaf (count > 0) or of an index. */
typedef struct TreeEntry {
	uint64_t physical;
	uint32_t logical;
	uint32_t count;
} TreeEntry;

static uint32_t pieces_of(const Inode *inode)
{
	uint32_t pieces = 0;

	for (uint32_t i = 0; i < inode->extent_count; i++)
		pieces += (inode->extents[i].count + EXTENT_MAX_BLOCKS - 1) / EXTENT_MAX_BLOCKS;
	return pieces;
}

/* Blocks of an extent tree with that many leaf entries, without the root in the inode. */
static uint32_t tree_blocks(uint32_t entries)
{
	uint32_t blocks = 0;

	while (entries > EXT4_INLINE_EXTENTS) {
		entries = (entries + NODE_ENTRIES - 1) / NODE_ENTRIES;
		blocks += entries;
	}
	return blocks;
}

int ext4_layout_extents(Ext4 *ext4, const Inode *inode, Error **err)
{
	uint32_t blocks = tree_blocks(pieces_of(inode));
	uint64_t start = 0;
	ExtentBlocks *grown;

	if (!blocks)
		return 0;
	if (blockmap_take_whole(&ext4->disk->map, blocks, &start, err) < 0)
		return -1;
	grown = xreallocarray(ext4->extent_blocks, ext4->extent_blocks_count + 1, sizeof(*grown));
	grown[ext4->extent_blocks_count++] =
		(ExtentBlocks){ .start = start, .count = blocks, .inode = inode->number };
	ext4->extent_blocks = grown;
	return 0;
}

/* Header and entries of one node; depth 0 is a leaf. */
static void encode_node(unsigned char *node, const TreeEntry *entries, uint32_t count, uint32_t max,
			unsigned depth)
{
	uint16_t header[6] = { htole16(NODE_MAGIC), htole16((uint16_t)count),
			       htole16((uint16_t)max), htole16((uint16_t)depth) };

	memcpy(node, header, sizeof(header));
	for (uint32_t i = 0; i < count; i++) {
		unsigned char *at = node + 12 + 12 * (size_t)i;
		uint32_t logical = htole32(entries[i].logical);
		uint32_t low = htole32((uint32_t)entries[i].physical);
		uint16_t high = htole16((uint16_t)(entries[i].physical >> 32));
		uint16_t length = htole16((uint16_t)entries[i].count);

		memcpy(at, &logical, 4);
		if (depth == 0) {
			memcpy(at + 4, &length, 2);
			memcpy(at + 6, &high, 2);
			memcpy(at + 8, &low, 4);
		} else {
			memcpy(at + 4, &low, 4);
			memcpy(at + 8, &high, 2);
		}
	}
}

/* Write one level of nodes at `block`; the entries become those of the level above. */
static int write_level(Ext4 *ext4, uint32_t number, TreeEntry *entries, uint32_t *count,
		       unsigned depth, uint64_t *block, Error **err)
{
	uint32_t identity[2] = { htole32(number), 0 /* generation */ };
	uint32_t seed =
		ext2fs_crc32c_le(ext4->fs->csum_seed, (unsigned char *)identity, sizeof(identity));
	uint32_t nodes = 0;

	for (uint32_t from = 0; from < *count; from += NODE_ENTRIES) {
		uint32_t part = *count - from < NODE_ENTRIES ? *count - from : NODE_ENTRIES;
		unsigned char node[BLOCK_SIZE] = { 0 };
		uint32_t checksum;

		encode_node(node, entries + from, part, NODE_ENTRIES, depth);
		checksum = htole32(ext2fs_crc32c_le(seed, node, CHECKSUM_AT));
		memcpy(node + CHECKSUM_AT, &checksum, 4);
		if (disk_write(ext4->disk, *block * BLOCK_SIZE, node, BLOCK_SIZE, err) < 0)
			return -1;
		entries[nodes++] =
			(TreeEntry){ .physical = *block, .logical = entries[from].logical };
		(*block)++;
	}
	*count = nodes;
	return 0;
}

/* Fill i_block with the root of the extent tree; `blocks` is where the rest of it goes (NULL: nothing). */
static int encode_extents(Ext4 *ext4, const Inode *inode, const ExtentBlocks *blocks, void *i_block,
			  Error **err)
{
	uint32_t count = pieces_of(inode);
	auto_free TreeEntry *entries = xcalloc(count, sizeof(*entries));
	uint64_t block = blocks ? blocks->start : 0;
	unsigned depth = 0;
	uint32_t used = 0;

	for (uint32_t i = 0; i < inode->extent_count; i++) {
		const Extent *extent = &inode->extents[i];

		for (uint32_t done = 0; done < extent->count; done += EXTENT_MAX_BLOCKS) {
			uint32_t left = extent->count - done;

			entries[used++] = (TreeEntry){
				.physical = extent->physical + done,
				.logical = extent->logical + done,
				.count = left < EXTENT_MAX_BLOCKS ? left : EXTENT_MAX_BLOCKS,
			};
		}
	}
	for (; count > EXT4_INLINE_EXTENTS; depth++)
		if (write_level(ext4, inode->number, entries, &count, depth, &block, err) < 0)
			return -1;
	encode_node(i_block, entries, count, EXT4_INLINE_EXTENTS, depth);
	return 0;
}

static uint64_t data_blocks(const Inode *inode)
{
	uint64_t blocks = 0;

	for (uint32_t i = 0; i < inode->extent_count; i++)
		blocks += inode->extents[i].count;
	return blocks;
}

/* A short target lives in the inode; a longer one in a block of its own, which ext4.c took. */
static int encode_symlink(Ext4 *ext4, const Inode *inode, struct ext2_inode_large *out, Error **err)
{
	TreeEntry entry = { .physical = inode->target_block, .count = 1 };

	if (inode->size < EXT4_INLINE_TARGET) {
		memcpy(out->i_block, inode->target, inode->size);
		return 0;
	}
	out->i_flags = htole32(EXT4_EXTENTS_FL);
	out->i_blocks = htole32(BLOCK_SIZE / 512);
	encode_node((unsigned char *)out->i_block, &entry, 1, EXT4_INLINE_EXTENTS, 0);
	return disk_write(ext4->disk, inode->target_block * BLOCK_SIZE, inode->target, inode->size,
			  err);
}

static void encode_device(const Inode *inode, struct ext2_inode_large *out)
{
	uint32_t major = inode->device.major;
	uint32_t minor = inode->device.minor;

	if (major < 256 && minor < 256)
		out->i_block[0] = htole32(major << 8 | minor);
	else
		out->i_block[1] = htole32((minor & 0xff) | major << 8 | (minor & ~0xffu) << 12);
}

/* One time for all four: what the layers know is when the content changed. Seconds have 34 bits, the upper two beside
 * the nanoseconds. */
static void encode_times(const Inode *inode, struct ext2_inode_large *out)
{
	uint32_t seconds = htole32((uint32_t)inode->mtime);
	uint64_t epoch = (uint64_t)(inode->mtime - (int32_t)inode->mtime) >> 32 & 3;
	uint32_t extra = htole32(inode->mtime_ns << 2 | (uint32_t)epoch);

	out->i_atime = out->i_ctime = out->i_mtime = out->i_crtime = seconds;
	out->i_atime_extra = out->i_ctime_extra = out->i_mtime_extra = out->i_crtime_extra = extra;
}

static uint16_t link_count(const Inode *inode)
{
	if (!inode_is_directory(inode))
		return (uint16_t)inode->links;
	/* dir_nlink: 1 means too many to count. */
	return inode->subdirectories + 2 >= TREE_MAX_LINKS ? 1
							   : (uint16_t)(inode->subdirectories + 2);
}

/* See ext4_dir.c. */
static bool is_indexed(const Inode *inode)
{
	return inode_is_directory(inode) && inode->size > BLOCK_SIZE;
}

static int encode_inode(Ext4 *ext4, const Inode *inode, const ExtentBlocks *blocks,
			struct ext2_inode_large *out, Error **err)
{
	uint64_t sectors;

	out->i_mode = htole16((uint16_t)inode->mode);
	out->i_uid = htole16((uint16_t)inode->uid);
	out->i_gid = htole16((uint16_t)inode->gid);
	out->osd2.linux2.l_i_uid_high = htole16((uint16_t)(inode->uid >> 16));
	out->osd2.linux2.l_i_gid_high = htole16((uint16_t)(inode->gid >> 16));
	out->i_links_count = htole16(link_count(inode));
	out->i_size = htole32((uint32_t)inode->size);
	out->i_size_high = htole32((uint32_t)(inode->size >> 32));
	out->i_extra_isize = htole16(sizeof(*out) - EXT2_GOOD_OLD_INODE_SIZE);
	encode_times(inode, out);

	switch (inode->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
		sectors = (data_blocks(inode) + (blocks ? blocks->count : 0)) * (BLOCK_SIZE / 512);
		out->i_flags = htole32(EXT4_EXTENTS_FL | (is_indexed(inode) ? EXT2_INDEX_FL : 0u));
		out->i_blocks = htole32((uint32_t)sectors);
		out->osd2.linux2.l_i_blocks_hi = htole16((uint16_t)(sectors >> 32));
		return encode_extents(ext4, inode, blocks, out->i_block, err);
	case S_IFLNK:
		return encode_symlink(ext4, inode, out, err);
	case S_IFCHR:
	case S_IFBLK:
		encode_device(inode, out);
		return 0;
	default:
		return 0;
	}
}

int ext4_write_inodes(Ext4 *ext4, Error **err)
{
	size_t next = 0; /* of the extent trees, which come in the order of inodes */

	for (uint32_t number = EXT2_ROOT_INO; number < ext4->inode_count; number++) {
		unsigned char raw[EXT4_INODE_BYTES] __attribute__((aligned(8))) = { 0 };
		struct ext2_inode_large *out = (struct ext2_inode_large *)(void *)raw;
		const ExtentBlocks *blocks = NULL;
		dgrp_t group = (number - 1) / ext4->inodes_per_group;
		uint64_t index = (number - 1) % ext4->inodes_per_group;
		uint64_t at;
		errcode_t code;

		if (!ext4->inodes[number])
			continue;
		if (next < ext4->extent_blocks_count && ext4->extent_blocks[next].inode == number)
			blocks = &ext4->extent_blocks[next++];
		if (encode_inode(ext4, ext4->inodes[number], blocks, out, err) < 0)
			return -1;
		code = ext2fs_inode_csum_set(ext4->fs, number, out);
		if (code)
			return ext4_fail(err, code, "sum up an inode");
		at = ext2fs_inode_table_loc(ext4->fs, group) * BLOCK_SIZE +
		     index * EXT4_INODE_BYTES;
		if (disk_write(ext4->disk, at, raw, sizeof(raw), err) < 0)
			return -1;
		/* libext2fs has put inodes of its own between the root's and the first free one. */
		if (number == EXT2_ROOT_INO && disk_flush(ext4->disk, err) < 0)
			return -1;
	}
	return 0;
}
