#include <endian.h>
#include <string.h>

#include "image/ext4_format.h"
#include "util/mem.h"

/*
 * Directories are lists of entries, block after block, in the order in which the names came. Each block ends with a
 * checksum that looks like an unused entry (Documentation/filesystems/ext4/directory.rst).
 */

#define TAIL_BYTES   12u
#define USABLE_BYTES (BLOCK_SIZE - TAIL_BYTES)
#define WRITE_BLOCKS 64u

static uint32_t entry_bytes(size_t name_length)
{
	return (8u + (uint32_t)name_length + 3u) & ~3u;
}

static uint8_t entry_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return EXT2_FT_DIR;
	case S_IFLNK:
		return EXT2_FT_SYMLINK;
	case S_IFCHR:
		return EXT2_FT_CHRDEV;
	case S_IFBLK:
		return EXT2_FT_BLKDEV;
	case S_IFIFO:
		return EXT2_FT_FIFO;
	case S_IFSOCK:
		return EXT2_FT_SOCK;
	default:
		return EXT2_FT_REG_FILE;
	}
}

int ext4_layout_directory(Ext4 *ext4, const Node *dir, Error **err)
{
	Inode *inode = dir->inode;
	uint32_t used = entry_bytes(1) + entry_bytes(2);
	uint32_t blocks = 1;
	uint32_t logical = 0;

	for (const Node *child = dir->first_child; child; child = child->next) {
		uint32_t need = entry_bytes(child->name_length);

		if (used + need > USABLE_BYTES) {
			blocks++;
			used = 0;
		}
		used += need;
		inode->subdirectories += inode_is_directory(child->inode) ? 1 : 0;
	}
	inode->size = (uint64_t)blocks * BLOCK_SIZE;
	while (logical < blocks) {
		BlockRun run = { 0 };

		if (blockmap_take(&ext4->disk->map, blocks - logical, &run, err) < 0)
			return -1;
		inode_add_extent(inode, logical, run.start, (uint32_t)run.count);
		logical += (uint32_t)run.count;
	}
	return 0;
}

/* A directory being written: one block is packed at a time. */
typedef struct Packer {
	Ext4 *ext4;
	const Inode *inode;
	uint32_t seed;	  /* of the checksums of this directory's blocks */
	uint32_t logical; /* number of the block in hand */
	uint32_t extent;  /* that holds it */
	uint32_t used;	  /* bytes of it */
	uint32_t last;	  /* where its last entry begins */
	unsigned char block[BLOCK_SIZE];
} Packer;

static void put_entry(Packer *packer, uint32_t number, const char *name, size_t length,
		      uint32_t mode)
{
	unsigned char *at = packer->block + packer->used;
	uint32_t number_le = htole32(number);
	uint16_t bytes_le = htole16((uint16_t)entry_bytes(length));

	memcpy(at, &number_le, 4);
	memcpy(at + 4, &bytes_le, 2);
	at[6] = (uint8_t)length;
	at[7] = entry_type(mode);
	memcpy(at + 8, name, length);
	packer->last = packer->used;
	packer->used += entry_bytes(length);
}

/* Stretch the last entry over the rest, put the checksum behind it, and begin a new block. */
static int finish_block(Packer *packer, Error **err)
{
	const Extent *extent = &packer->inode->extents[packer->extent];
	uint16_t stretched = htole16((uint16_t)(USABLE_BYTES - packer->last));
	unsigned char *tail = packer->block + USABLE_BYTES;
	uint16_t tail_bytes = htole16(TAIL_BYTES);
	uint16_t tail_type = htole16(EXT2_DIR_NAME_LEN_CSUM);
	uint32_t checksum;
	uint64_t at;

	memcpy(packer->block + packer->last + 4, &stretched, 2);
	memcpy(tail + 4, &tail_bytes, 2);
	memcpy(tail + 6, &tail_type, 2);
	checksum = htole32(ext2fs_crc32c_le(packer->seed, packer->block, USABLE_BYTES));
	memcpy(tail + 8, &checksum, 4);

	if (packer->logical == extent->logical + extent->count) {
		packer->extent++;
		extent++;
	}
	at = (extent->physical + (packer->logical - extent->logical)) * BLOCK_SIZE;
	if (disk_write(packer->ext4->disk, at, packer->block, BLOCK_SIZE, err) < 0)
		return -1;
	packer->logical++;
	packer->used = 0;
	memset(packer->block, 0, BLOCK_SIZE);
	return 0;
}

int ext4_write_directory(Ext4 *ext4, const Node *dir, Error **err)
{
	const Node *parent = dir->parent ? dir->parent : dir;
	Packer packer = { .ext4 = ext4, .inode = dir->inode };
	uint32_t identity[2] = { htole32(dir->inode->number), 0 /* generation */ };

	packer.seed =
		ext2fs_crc32c_le(ext4->fs->csum_seed, (unsigned char *)identity, sizeof(identity));
	put_entry(&packer, dir->inode->number, ".", 1, S_IFDIR);
	put_entry(&packer, parent->inode->number, "..", 2, S_IFDIR);
	for (const Node *child = dir->first_child; child; child = child->next) {
		if (packer.used + entry_bytes(child->name_length) > USABLE_BYTES &&
		    finish_block(&packer, err) < 0)
			return -1;
		put_entry(&packer, child->inode->number, child->name, child->name_length,
			  child->inode->mode);
	}
	return finish_block(&packer, err);
}
