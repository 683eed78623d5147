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

static int write_inode_xattrs(Ext4 *ext4, const Inode *inode, Error **err)
{
	struct ext2_xattr_handle *handle = NULL;
	errcode_t code = ext2fs_xattrs_open(ext4->fs, inode->number, &handle);

	if (!code)
		code = ext2fs_xattrs_read(handle);
	for (size_t i = 0; i < inode->xattrs->count && !code; i++) {
		const Xattr *item = &inode->xattrs->items[i];

		code = ext2fs_xattr_set(handle, item->name, item->value, item->size);
	}
	if (handle)
		(void)ext2fs_xattrs_close(&handle);
	if (code == EXT2_ET_EA_NO_SPACE || code == EXT2_ET_INODE_CORRUPTED) {
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
