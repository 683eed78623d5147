#include <endian.h>
#include <string.h>

#include "image/ext4_format.h"
#include "util/mem.h"

/*
 * Directories: lists of entries, block after block. One that fits a block is in the order in which the names came, a
 * larger one in that of its index (ext4_htree.c). Each block ends with a checksum that looks like an unused entry
 * (Documentation/filesystems/ext4/directory.rst).
 */

#define TAIL_BYTES   12u
#define USABLE_BYTES (BLOCK_SIZE - TAIL_BYTES)

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

/* Blocks that the entries need when the first has `used` bytes in use. */
static uint32_t count_blocks(const Node *dir, uint32_t used)
{
	uint32_t blocks = 1;

	for (const Node *child = dir->first_child; child; child = child->next) {
		uint32_t need = entry_bytes(child->name_length);

		if (used + need > USABLE_BYTES) {
			blocks++;
			used = 0;
		}
		used += need;
	}
	return blocks;
}

int ext4_layout_directory(Ext4 *ext4, Node *dir, Error **err)
{
	Inode *inode = dir->inode;
	uint32_t blocks = count_blocks(dir, entry_bytes(1) + entry_bytes(2));
	uint32_t logical = 0;

	for (const Node *child = dir->first_child; child; child = child->next)
		inode->subdirectories += inode_is_directory(child->inode) ? 1 : 0;
	if (blocks > 1) {
		ext4_sort_by_hash(ext4, dir);
		blocks = count_blocks(dir, 0);
		blocks += ext4_index_blocks(blocks);
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

int ext4_write_dir_block(DirWriter *writer, const unsigned char *block, Error **err)
{
	const Extent *extent = &writer->inode->extents[writer->extent];
	uint64_t at;

	if (writer->logical == extent->logical + extent->count) {
		writer->extent++;
		extent++;
	}
	at = (extent->physical + (writer->logical - extent->logical)) * BLOCK_SIZE;
	writer->logical++;
	return disk_write(writer->ext4->disk, at, block, BLOCK_SIZE, err);
}

/* A block of entries being packed. */
typedef struct Packer {
	DirWriter *writer;
	uint32_t used; /* bytes */
	uint32_t last; /* where its last entry begins */
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
	uint16_t stretched = htole16((uint16_t)(USABLE_BYTES - packer->last));
	unsigned char *tail = packer->block + USABLE_BYTES;
	uint16_t tail_bytes = htole16(TAIL_BYTES);
	uint16_t tail_type = htole16(EXT2_DIR_NAME_LEN_CSUM);
	uint32_t checksum;

	memcpy(packer->block + packer->last + 4, &stretched, 2);
	memcpy(tail + 4, &tail_bytes, 2);
	memcpy(tail + 6, &tail_type, 2);
	checksum = htole32(ext2fs_crc32c_le(packer->writer->seed, packer->block, USABLE_BYTES));
	memcpy(tail + 8, &checksum, 4);
	if (ext4_write_dir_block(packer->writer, packer->block, err) < 0)
		return -1;
	packer->used = 0;
	memset(packer->block, 0, BLOCK_SIZE);
	return 0;
}

/* Where each block of entries begins, by hash; the caller owns *out_starts. */
static uint32_t find_starts(const Ext4 *ext4, const Node *dir, uint32_t **out_starts)
{
	uint32_t *starts = xcalloc(dir->inode->size / BLOCK_SIZE, sizeof(*starts));
	uint32_t count = 1;
	uint32_t used = 0;

	for (const Node *child = dir->first_child; child; child = child->next) {
		uint32_t need = entry_bytes(child->name_length);

		if (used + need > USABLE_BYTES) {
			starts[count] = ext4_name_hash(ext4, child, NULL);
			if (starts[count] == ext4_name_hash(ext4, child->previous, NULL))
				starts[count] |= EXT4_HASH_CONTINUES;
			count++;
			used = 0;
		}
		used += need;
	}
	*out_starts = starts;
	return count;
}

int ext4_write_directory(Ext4 *ext4, const Node *dir, Error **err)
{
	const Node *parent = dir->parent ? dir->parent : dir;
	uint32_t identity[2] = { htole32(dir->inode->number), 0 /* generation */ };
	DirWriter writer = { .ext4 = ext4, .inode = dir->inode };
	Packer packer = { .writer = &writer };

	writer.seed =
		ext2fs_crc32c_le(ext4->fs->csum_seed, (unsigned char *)identity, sizeof(identity));
	if (dir->inode->size > BLOCK_SIZE) {
		auto_free uint32_t *starts = NULL;
		uint32_t count = find_starts(ext4, dir, &starts);

		if (ext4_write_index(&writer, parent->inode->number, starts, count, err) < 0)
			return -1;
	} else {
		put_entry(&packer, dir->inode->number, ".", 1, S_IFDIR);
		put_entry(&packer, parent->inode->number, "..", 2, S_IFDIR);
	}
	for (const Node *child = dir->first_child; child; child = child->next) {
		if (packer.used + entry_bytes(child->name_length) > USABLE_BYTES &&
		    finish_block(&packer, err) < 0)
			return -1;
		put_entry(&packer, child->inode->number, child->name, child->name_length,
			  child->inode->mode);
	}
	return finish_block(&packer, err);
}
