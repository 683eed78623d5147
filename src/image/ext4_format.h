/*
 * Inside ext4_*.c only: what the writer's parts share.
 */
#pragma once

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>

#include "image/ext4.h"

#define EXT4_FIRST_FREE_INODE 11u
#define EXT4_BLOCKS_PER_GROUP 32768u
#define EXT4_INODES_PER_BLOCK (BLOCK_SIZE / EXT4_INODE_BYTES)
#define EXT4_INODE_BYTES      256u
#define EXT4_INLINE_TARGET    60u /* a symlink's target below this many bytes lives in the inode */
#define EXT4_INLINE_EXTENTS   4u

/* Blocks of the extent tree of a file whose extents do not fit its inode, in the order of inode numbers. */
typedef struct ExtentBlocks {
	uint64_t start;
	uint32_t count;
	uint32_t inode;
} ExtentBlocks;

typedef struct Ext4 {
	Disk *disk;
	Tree *tree;
	const Ext4Params *params;
	ext2_filsys fs;

	uint32_t hash_seed[4]; /* of the names of large directories */

	Inode **inodes; /* by number; [0 .. EXT4_FIRST_FREE_INODE) are NULL but for the root */
	uint32_t inode_count; /* one past the highest number in use */
	ExtentBlocks *extent_blocks;
	size_t extent_blocks_count;

	uint64_t xattr_blocks; /* at most, for all extended attributes */
	uint32_t xattr_inodes;

	uint32_t group_count;
	uint32_t inodes_per_group;
	uint32_t journal_blocks;
	uint64_t block_count;
} Ext4;

/* Turn libext2fs' error into ours; returns -1. */
int ext4_fail(Error **err, errcode_t code, const char *what);

/* ext4_geometry.c: how many groups and inodes, and where their tables lie. */
int ext4_decide_geometry(Ext4 *ext4, Error **err);
int ext4_place_tables(Ext4 *ext4, Error **err);
uint64_t ext4_descriptor_area(uint64_t max_bytes);

/* ext4_super.c: superblock, groups, bitmaps, journal, resize inode, by libext2fs. */
int ext4_open_filesystem(Ext4 *ext4, Error **err);
int ext4_mark_used(Ext4 *ext4, Error **err);
int ext4_add_special_inodes(Ext4 *ext4, Error **err);
/* The io_manager under it: no cache, and zeroing by punching holes. */
extern struct struct_io_manager ext4_io_manager;

/* ext4_dir.c. One above a block gets its children sorted by their hash. */
int ext4_layout_directory(Ext4 *ext4, Node *dir, Error **err);
int ext4_write_directory(Ext4 *ext4, const Node *dir, Error **err);

/* A directory being written, a block at a time. */
typedef struct DirWriter {
	Ext4 *ext4;
	const Inode *inode;
	uint32_t seed;	  /* of the checksums of its blocks */
	uint32_t logical; /* number of the next block */
	uint32_t extent;  /* that holds it */
} DirWriter;

int ext4_write_dir_block(DirWriter *writer, const unsigned char *block, Error **err);

/* ext4_htree.c: the index of directories above one block. */
#define EXT4_HASH_CONTINUES \
	1u /* the names before have the same hash; free, since hashes are even */

uint32_t ext4_name_hash(const Ext4 *ext4, const Node *node, uint32_t *out_minor); /* may be NULL */
void ext4_sort_by_hash(const Ext4 *ext4, Node *dir);
/* Blocks of the index over so many blocks of entries, which follow it. */
uint32_t ext4_index_blocks(uint32_t leaves);
/* starts[i]: the first hash of block i of entries, perhaps with EXT4_HASH_CONTINUES. starts[0] means nothing. */
int ext4_write_index(DirWriter *writer, uint32_t parent, const uint32_t *starts, uint32_t leaves,
		     Error **err);

/* ext4_inode.c: extents and inode tables. */
int ext4_layout_extents(Ext4 *ext4, const Inode *inode, Error **err);
int ext4_write_inodes(Ext4 *ext4, Error **err);

/* ext4_xattr.c */
void ext4_count_xattrs(Ext4 *ext4, const Inode *inode);
int ext4_write_xattrs(Ext4 *ext4, Error **err);
