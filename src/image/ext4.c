#include "image/ext4.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/ext4_format.h"
#include "util/mem.h"

/* e2fsck puts what it rescues there, and misses it on a clean filesystem too. */
static int add_lost_found(Tree *tree, Error **err)
{
	static const char name[] = "lost+found";
	auto_inode Inode *inode = NULL;
	Node *node = NULL;

	if (tree_find(tree, tree->root, name, sizeof(name) - 1))
		return 0;
	inode = inode_new(S_IFDIR | 0700);
	inode->mtime = tree->created;
	if (tree_add(tree, tree->root, name, sizeof(name) - 1, inode, &node, err) < 0)
		return -1;
	(void)steal(&inode);
	return 0;
}

static void number_inodes(Ext4 *ext4)
{
	const Tree *tree = ext4->tree;

	ext4->inodes = xcalloc(tree->node_count + EXT4_FIRST_FREE_INODE + 1, sizeof(Inode *));
	ext4->inodes[EXT2_ROOT_INO] = tree->root->inode;
	tree->root->inode->number = EXT2_ROOT_INO;
	ext4->inode_count = EXT4_FIRST_FREE_INODE;
	for (const Node *node = tree_next(tree->root); node; node = tree_next(node)) {
		if (node->inode->number)
			continue;
		node->inode->number = ext4->inode_count;
		ext4->inodes[ext4->inode_count++] = node->inode;
	}
}

/* Take the blocks of all that is not file data, so that the size of the whole is known. */
static int layout(Ext4 *ext4, Error **err)
{
	for (Node *node = ext4->tree->root; node; node = tree_next(node))
		if (inode_is_directory(node->inode) && ext4_layout_directory(ext4, node, err) < 0)
			return -1;
	for (uint32_t number = EXT2_ROOT_INO; number < ext4->inode_count; number++) {
		Inode *inode = ext4->inodes[number];

		if (!inode)
			continue;
		ext4_count_xattrs(ext4, inode);
		if (S_ISLNK(inode->mode) && inode->size >= EXT4_INLINE_TARGET &&
		    blockmap_take_whole(&ext4->disk->map, 1, &inode->target_block, err) < 0)
			return -1;
		if ((S_ISREG(inode->mode) || S_ISDIR(inode->mode)) &&
		    ext4_layout_extents(ext4, inode, err) < 0)
			return -1;
	}
	return ext4_decide_geometry(ext4, err);
}

static int write_metadata(Ext4 *ext4, Error **err)
{
	for (const Node *node = ext4->tree->root; node; node = tree_next(node))
		if (inode_is_directory(node->inode) && ext4_write_directory(ext4, node, err) < 0)
			return -1;
	if (ext4_write_inodes(ext4, err) < 0 || disk_flush(ext4->disk, err) < 0)
		return -1;
	/* What libext2fs has read of the inode tables so far is from before we wrote them. */
	(void)ext2fs_flush_icache(ext4->fs);
	return ext4_write_xattrs(ext4, err);
}

static int close_filesystem(Ext4 *ext4, Error **err)
{
	errcode_t code = ext2fs_close_free(&ext4->fs);

	if (code)
		return ext4_fail(err, code, "write the superblocks");
	if (ftruncate(ext4->disk->fd, (off_t)(ext4->block_count * BLOCK_SIZE)) < 0)
		return error_set_errno(err, errno, "set the size of the image");
	return 0;
}

static void ext4_release(Ext4 *ext4)
{
	if (ext4->fs)
		ext2fs_free(ext4->fs);
	free(ext4->inodes);
	free(ext4->extent_blocks);
}

int ext4_write(Disk *disk, Tree *tree, const Ext4Params *params, uint64_t *out_size_bytes,
	       Error **err)
{
	CLEANUP(ext4_release) Ext4 ext4 = { .disk = disk, .tree = tree, .params = params };

	if (add_lost_found(tree, err) < 0)
		return -1;
	memcpy(ext4.hash_seed, params->uuid, sizeof(ext4.hash_seed));
	number_inodes(&ext4);
	if (layout(&ext4, err) < 0 || ext4_open_filesystem(&ext4, err) < 0 ||
	    ext4_place_tables(&ext4, err) < 0 || ext4_mark_used(&ext4, err) < 0 ||
	    ext4_add_special_inodes(&ext4, err) < 0 || write_metadata(&ext4, err) < 0 ||
	    close_filesystem(&ext4, err) < 0)
		return error_wrap(err, "write the filesystem");
	*out_size_bytes = ext4.block_count * BLOCK_SIZE;
	return 0;
}
