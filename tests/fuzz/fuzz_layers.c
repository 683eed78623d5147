/*
 * Layers from a stranger: the bytes are two tars (the first three bytes say where the second begins, and with the highest
 * bit that checksums are mended), compressed or not, streamed to a disk in memory and merged. Whatever they hold, the tree stays whole: every name is found again, links are
 * counted right, and no two files share a block.
 */
#include <locale.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "image/ext4.h"
#include "image/layers.h"
#include "mend.h"
#include "util/mem.h"

#define MAX_BYTES (64u << 20)

static uint64_t data_blocks(const Tree *tree)
{
	uint64_t blocks = 0;

	for (const Node *node = tree->root; node; node = tree_next(node)) {
		const Inode *inode = node->inode;

		CHECK(inode->links > 0);
		CHECK(!node->parent || inode_is_directory(node->parent->inode));
		CHECK(!node->parent ||
		      tree_find(tree, node->parent, node->name, node->name_length) == node);
		CHECK(!memchr(node->name, '/', node->name_length));
		CHECK(strcmp(node->name, ".") != 0 && strcmp(node->name, "..") != 0);
		if (!S_ISREG(inode->mode) || inode->number)
			continue;
		node->inode->number = 1; /* seen: hard links share it */
		for (uint32_t i = 0; i < inode->extent_count; i++) {
			CHECK(!i ||
			      inode->extents[i].logical >=
				      inode->extents[i - 1].logical + inode->extents[i - 1].count);
			blocks += inode->extents[i].count;
		}
	}
	return blocks;
}

static void on_release(void *arg, const Inode *inode)
{
	if (S_ISREG(inode->mode))
		CHECK(disk_discard(arg, inode, NULL) == 0);
}

static int add_layer(LayerContext *context, Tree *tree, uint16_t number, const uint8_t *data,
		     size_t size)
{
	auto_fd fd = memfd_create("layer", MFD_CLOEXEC);
	auto_layer Layer layer = { .number = number, .direct = number == 1 ? tree : NULL };
	auto_free char *diff_id = NULL;
	auto_error err = NULL;
	BlobSpec spec = { .fd = fd, .compression = COMPRESSION_GUESS, .size = BLOB_UNKNOWN_SIZE };

	CHECK(write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
	if (layer_stream(context, &spec, &layer, &diff_id, &err) < 0 ||
	    merge_layer(tree, &layer, &err) < 0) {
		CHECK(err);
		return -1;
	}
	return 0;
}

static void release(LayerContext *context)
{
	strv_release(&context->dropped_xattrs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_fd fd = memfd_create("image", MFD_CLOEXEC);
	auto_disk Disk disk;
	auto_tree Tree tree;
	CLEANUP(release)
	LayerContext context = { .disk = &disk,
				 .max_bytes = MAX_BYTES,
				 .meter = { .bytes_left = MAX_BYTES } };
	uint64_t free_before, used;
	size_t split;
	auto_free uint8_t *tars = NULL;

	(void)setlocale(LC_CTYPE, "C.UTF-8");
	disk_init(&disk, fd);
	tree_init(&tree, 0);
	ext4_plan(&disk.map, MAX_BYTES);
	free_before = blockmap_free(&disk.map);
	tree.on_release = on_release;
	tree.on_release_arg = &disk;
	if (size < 3)
		return 0;
	split = ((size_t)(data[0] & 0x7f) << 16 | (size_t)data[1] << 8 | data[2]) % (size - 2);
	size -= 3;
	tars = xcalloc(size + 1, 1);
	memcpy(tars, data + 3, size);
	if (data[0] & 0x80) {
		tar_mend(tars, split);
		tar_mend(tars + split, size - split);
	}
	if (add_layer(&context, &tree, 1, tars, split) < 0 ||
	    add_layer(&context, &tree, 2, tars + split, size - split) < 0)
		return 0;
	used = data_blocks(&tree);
	CHECK(used == free_before - blockmap_free(&disk.map));
	return 0;
}
