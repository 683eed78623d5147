#include <stdlib.h>
#include <sys/stat.h>

#include "image/extfs_format.h"
#include "util/mem.h"

/*
 * Whole contents of what is small: inline files, symlinks, documents, attributes with an inode of their own.
 */

static int read_inline(Extfs *fs, const ExtInode *inode, char *data, Error **err)
{
	const uint8_t *rest = NULL;
	size_t rest_size = 0;
	size_t size = inode->size;
	size_t first = size < INODE_BLOCK_SIZE ? size : INODE_BLOCK_SIZE;

	if (extfs_inline_rest(fs, inode, &rest, &rest_size, err) < 0)
		return -1;
	if (size - first > rest_size)
		return extfs_damaged(err, "a file is shorter than it says");
	memcpy(data, inode->raw + INODE_BLOCK, first);
	if (size > first)
		memcpy(data + first, rest, size - first);
	return 0;
}

static int read_mapped(Extfs *fs, const ExtInode *inode, char *data, Error **err)
{
	auto_ext_map ExtMap map = { 0 };

	if (extfs_map(fs, inode, &map, err) < 0)
		return -1;
	for (size_t i = 0; i < map.count; i++) {
		uint64_t at = map.runs[i].logical * fs->block_size;
		uint64_t size = map.runs[i].count * fs->block_size;

		if (size > inode->size - at)
			size = inode->size - at;
		if (extfs_read_bytes(fs, map.runs[i].physical * fs->block_size, data + at, size,
				     err) < 0)
			return -1;
	}
	return 0;
}

int extfs_read_file(Extfs *fs, const ExtInode *inode, size_t max, char **out_data, Error **err)
{
	auto_free char *data = NULL;

	if (inode->size > max)
		return error_set(err, ERR_UNSUPPORTED, "it is larger than %zu bytes", max);
	data = xcalloc(inode->size + 1, 1);
	if ((extfs_is_inline(inode) ? read_inline(fs, inode, data, err)
				    : read_mapped(fs, inode, data, err)) < 0)
		return -1;
	*out_data = steal(&data);
	return 0;
}

int extfs_read_link(Extfs *fs, const ExtInode *inode, char **out_target, Error **err)
{
	auto_free char *target = NULL;

	if (inode->size == 0 || inode->size > EXTFS_MAX_LINK)
		return extfs_damaged(err, "a symlink has no possible length");
	if (!extfs_is_inline(inode) && !(inode->flags & EXT4_EXTENTS_FL) &&
	    inode->size < INODE_BLOCK_SIZE)
		target = xstrndup((const char *)inode->raw + INODE_BLOCK, inode->size);
	else if (extfs_read_file(fs, inode, EXTFS_MAX_LINK, &target, err) < 0)
		return -1;
	if (strlen(target) != inode->size)
		return extfs_damaged(err, "a symlink's target ends early");
	*out_target = steal(&target);
	return 0;
}
