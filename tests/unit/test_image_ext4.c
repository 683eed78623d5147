/*
 * The ext4 writer by itself: what no image could be made to show, since its hash seed comes from its content.
 */
#include <endian.h>
#include <fcntl.h>
#include <unistd.h>

#include "image/ext4.h"
#include "image/ext4_format.h"
#include "test.h"
#include "util/mem.h"

#define MAX_BYTES   (256ull << 20)
#define NAME_LENGTH 255u
#define PER_BLOCK   15u /* such names fit a block of entries */
#define TRIES	    200000u

static Error *err;

typedef struct Candidate {
	uint32_t hash;
	uint32_t number;
} Candidate;

static void make_name(char *name, uint32_t number)
{
	memset(name, 'x', NAME_LENGTH);
	name[NAME_LENGTH] = '\0';
	name[snprintf(name, NAME_LENGTH, "%u", number)] = '-';
}

static uint32_t hash_of(const Ext4Params *params, uint32_t number)
{
	auto_free Node *node = xcalloc(1, sizeof(*node) + NAME_LENGTH + 1);
	Ext4 ext4 = { 0 };

	memcpy(ext4.hash_seed, params->uuid, sizeof(ext4.hash_seed));
	node->name_length = NAME_LENGTH;
	make_name(node->name, number);
	return ext4_name_hash(&ext4, node, NULL);
}

static int compare_candidates(const void *a, const void *b)
{
	const Candidate *one = a;
	const Candidate *two = b;

	return (one->hash > two->hash) - (one->hash < two->hash);
}

static void add_file(Tree *tree, Node *dir, uint32_t number)
{
	char name[NAME_LENGTH + 1];
	Node *node = NULL;

	make_name(name, number);
	CHECK_OK(tree_add(tree, dir, name, NAME_LENGTH, inode_new(S_IFREG | 0644), &node, &err),
		 err);
}

/* Fill the directory so that the two names of one hash are the last of a block of entries and the first of the next. */
static uint32_t add_collision(Tree *tree, Node *dir, const Ext4Params *params)
{
	auto_free Candidate *all = xcalloc(TRIES, sizeof(*all));
	uint32_t at = PER_BLOCK - 1;

	for (uint32_t i = 0; i < TRIES; i++)
		all[i] = (Candidate){ hash_of(params, i), i };
	qsort(all, TRIES, sizeof(*all), compare_candidates);
	while (at + PER_BLOCK < TRIES && all[at].hash != all[at + 1].hash)
		at++;
	CHECK(all[at].hash == all[at + 1].hash);
	for (uint32_t i = at + 1 - PER_BLOCK; i < at + PER_BLOCK; i++)
		add_file(tree, dir, all[i].number);
	return all[at].hash;
}

static void test_collision(void)
{
	static const char path[] = "test_image_ext4.raw";
	auto_fd fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	Ext4Params params = { .max_bytes = MAX_BYTES, .time = 1, .uuid = "sixteen bytes..." };
	auto_free char *fsck = xasprintf("e2fsck -fn %s >/dev/null 2>&1", path);
	Disk disk;
	auto_tree Tree tree = { 0 };
	Node *dir = NULL;
	uint64_t size = 0;
	uint32_t hash;
	uint32_t root[12];

	CHECK(fd >= 0);
	disk_init(&disk, fd);
	ext4_plan(&disk.map, MAX_BYTES);
	tree_init(&tree, 1);
	CHECK_OK(tree_add(&tree, tree.root, "d", 1, inode_new(S_IFDIR | 0755), &dir, &err), err);
	hash = add_collision(&tree, dir, &params);
	CHECK_OK(ext4_write(&disk, &tree, &params, &size, &err), err);
	CHECK(pread(fd, root, sizeof(root), (off_t)dir->inode->extents[0].physical * BLOCK_SIZE) ==
	      sizeof(root));
	/* Two entries: the second says that its hash began in the block before. */
	CHECK_INT(le32toh(root[8]) >> 16, 2);
	CHECK_INT(le32toh(root[10]), hash | EXT4_HASH_CONTINUES);
	CHECK_INT(system(fsck), 0);
	disk_release(&disk);
	(void)unlink(path);
}

TEST_MAIN({ "names of one hash over two blocks", test_collision })
