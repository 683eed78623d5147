#include <string.h>

#include "image/ext4_format.h"
#include "util/mem.h"
#include "util/str.h"

/*
 * Extended attributes, by libext2fs: in the inode, then in one block, then (ea_inode) in inodes of their own.
 */

/* Above this many bytes in one file something may need an inode of its own. */
#define BLOCK_ROOM 3072u

void ext4_count_xattrs(Ext4 *ext4, const Inode *inode)
{
	uint64_t total = 0;

	if (!inode->xattrs)
		return;
	for (size_t i = 0; i < inode->xattrs->count; i++)
		total += inode->xattrs->items[i].size + strlen(inode->xattrs->items[i].name) + 16;
	ext4->xattr_blocks++;
	if (total <= BLOCK_ROOM)
		return;
	for (size_t i = 0; i < inode->xattrs->count; i++) {
		ext4->xattr_blocks += inode->xattrs->items[i].size / BLOCK_SIZE + 1;
		ext4->xattr_inodes++;
	}
}

static uint32_t free_inodes(const Ext4 *ext4)
{
	return ext4->fs->super->s_free_inodes_count;
}

/* Set all attributes. Counts the blocks of values that got an inode of their own. */
static errcode_t set_xattrs(Ext4 *ext4, const Inode *inode, struct ext2_xattr_handle *handle,
			    uint64_t *out_value_blocks)
{
	errcode_t code = ext2fs_xattrs_read(handle);

	for (size_t i = 0; i < inode->xattrs->count && !code; i++) {
		const Xattr *item = &inode->xattrs->items[i];
		uint32_t free_before = free_inodes(ext4);

		code = ext2fs_xattr_set(handle, item->name, item->value, item->size);
		if (free_inodes(ext4) != free_before)
			*out_value_blocks += (item->size + BLOCK_SIZE - 1) / BLOCK_SIZE;
	}
	return code;
}

/* The kernel charges a file for the blocks of such values, libext2fs does not. */
static errcode_t charge_blocks(Ext4 *ext4, uint32_t number, uint64_t blocks)
{
	struct ext2_inode raw;
	errcode_t code;

	if (!blocks)
		return 0;
	code = ext2fs_read_inode(ext4->fs, number, &raw);
	if (!code)
		code = ext2fs_iblk_add_blocks(ext4->fs, &raw, blocks);
	return code ? code : ext2fs_write_inode(ext4->fs, number, &raw);
}

static int write_inode_xattrs(Ext4 *ext4, const Inode *inode, Error **err)
{
	struct ext2_xattr_handle *handle = NULL;
	uint64_t value_blocks = 0;
	errcode_t code = ext2fs_xattrs_open(ext4->fs, inode->number, &handle);

	if (!code)
		code = set_xattrs(ext4, inode, handle, &value_blocks);
	if (handle)
		(void)ext2fs_xattrs_close(&handle);
	if (!code)
		code = charge_blocks(ext4, inode->number, value_blocks);
	if (code == EXT2_ET_EA_NO_SPACE) {
		error_set(err, ERR_UNSUPPORTED,
			  "a file has more extended attributes than ext4 can store");
		return error_hint(err, "make the image with fewer or shorter attributes");
	}
	return code ? ext4_fail(err, code, "write extended attributes") : 0;
}

int ext4_write_xattrs(Ext4 *ext4, Error **err)
{
	for (uint32_t number = 1; number < ext4->inode_count; number++) {
		const Inode *inode = ext4->inodes[number];

		if (inode && inode->xattrs && write_inode_xattrs(ext4, inode, err) < 0)
			return -1;
	}
	return 0;
}
