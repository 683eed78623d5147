#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "image/ext4_format.h"
#include "util/mem.h"

/*
 * The index of a large directory: a root, below it perhaps one level of nodes, and then the blocks of entries in the
 * order of their names' hashes (Documentation/filesystems/ext4/directory.rst, "Hash Tree Directories"). To who knows
 * nothing of it root and nodes look like blocks of entries that are not in use.
 */

enum {
	INDEX_ENTRY_BYTES = 8, /* hash, block */
	INDEX_TAIL_AT = BLOCK_SIZE - 8,
	ROOT_COUNT_AT = 32, /* behind ".", ".." and the hash's parameters */
	NODE_COUNT_AT = 8,  /* behind an unused entry */
	ROOT_ENTRIES = (INDEX_TAIL_AT - ROOT_COUNT_AT) / INDEX_ENTRY_BYTES,
	NODE_ENTRIES = (INDEX_TAIL_AT - NODE_COUNT_AT) / INDEX_ENTRY_BYTES,
	DOT_BYTES = 12,
	PARAMETER_BYTES = 8,
};

/* The fullest block of entries has room for this many names at least, so that two levels always do. */
#define LEAST_ENTRIES 15u
_Static_assert((uint64_t)ROOT_ENTRIES *NODE_ENTRIES *LEAST_ENTRIES > TREE_MAX_NODES,
	       "an index of two levels holds the largest tree");

/* A child to be sorted. */
typedef struct Hashed {
	uint32_t hash;
	uint32_t minor;
	Node *node;
} Hashed;

uint32_t ext4_name_hash(const Ext4 *ext4, const Node *node, uint32_t *out_minor)
{
	uint32_t seed[4];
	ext2_dirhash_t hash = 0;
	ext2_dirhash_t minor = 0;

	memcpy(seed, ext4->hash_seed, sizeof(seed));
	/* As the superblock says: bytes of names are unsigned. It fails for no length that a name can have. */
	(void)ext2fs_dirhash(EXT2_HASH_HALF_MD4_UNSIGNED, node->name, node->name_length, seed,
			     &hash, &minor);
	if (out_minor)
		*out_minor = minor;
	return hash;
}

static int compare_hashed(const void *a, const void *b)
{
	const Hashed *one = a;
	const Hashed *two = b;

	if (one->hash != two->hash)
		return one->hash < two->hash ? -1 : 1;
	if (one->minor != two->minor)
		return one->minor < two->minor ? -1 : 1;
	return strcmp(one->node->name, two->node->name);
}

void ext4_sort_by_hash(const Ext4 *ext4, Node *dir)
{
	auto_free Hashed *items = NULL;
	auto_free Node **order = NULL;
	size_t count = 0;
	size_t used = 0;

	for (const Node *child = dir->first_child; child; child = child->next)
		count++;
	items = xcalloc(count, sizeof(*items));
	order = xcalloc(count, sizeof(Node *));
	for (Node *child = dir->first_child; child; child = child->next, used++) {
		items[used].node = child;
		items[used].hash = ext4_name_hash(ext4, child, &items[used].minor);
	}
	qsort(items, count, sizeof(*items), compare_hashed);
	for (size_t i = 0; i < count; i++)
		order[i] = items[i].node;
	tree_order_children(dir, order, count);
}

static uint32_t count_nodes(uint32_t leaves)
{
	return leaves > ROOT_ENTRIES ? (leaves + NODE_ENTRIES - 1) / NODE_ENTRIES : 0;
}

uint32_t ext4_index_blocks(uint32_t leaves)
{
	return 1 + count_nodes(leaves);
}

/* An entry for `dots` dots, or one that is not in use. */
static void put_entry(unsigned char *at, uint32_t number, uint16_t bytes, uint8_t dots)
{
	uint32_t number_le = htole32(number);
	uint16_t bytes_le = htole16(bytes);

	memcpy(at, &number_le, 4);
	memcpy(at + 4, &bytes_le, 2);
	at[6] = dots;
	at[7] = dots ? EXT2_FT_DIR : EXT2_FT_UNKNOWN;
	memset(at + 8, '.', dots);
}

/* A root or node whose entries are still to be filled in. */
typedef struct IndexBlock {
	unsigned char *bytes;
	size_t count_at;
	uint16_t limit;
	uint16_t count;
	const uint32_t *starts; /* every `step`th is an entry's; the first does not show it */
	uint32_t step;
	uint32_t block; /* of the first entry; the next ones follow */
} IndexBlock;

static int write_index_block(DirWriter *writer, const IndexBlock *index, Error **err)
{
	unsigned char *at = index->bytes + index->count_at;
	uint16_t limit = htole16(index->limit);
	uint16_t count = htole16(index->count);
	uint32_t zeros[2] = { 0 }; /* in the place of the tail and its checksum */
	uint32_t checksum;

	for (uint32_t i = 0; i < index->count; i++) {
		uint32_t hash = htole32(index->starts[(size_t)i * index->step]);
		uint32_t block = htole32(index->block + i);

		memcpy(at + (size_t)i * INDEX_ENTRY_BYTES, &hash, 4);
		memcpy(at + (size_t)i * INDEX_ENTRY_BYTES + 4, &block, 4);
	}
	memcpy(at, &limit, 2);
	memcpy(at + 2, &count, 2);
	checksum = ext2fs_crc32c_le(writer->seed, index->bytes,
				    index->count_at + (size_t)index->count * INDEX_ENTRY_BYTES);
	checksum = htole32(ext2fs_crc32c_le(checksum, (unsigned char *)zeros, sizeof(zeros)));
	memcpy(index->bytes + INDEX_TAIL_AT + 4, &checksum, 4);
	return ext4_write_dir_block(writer, index->bytes, err);
}

static int write_root(DirWriter *writer, uint32_t parent, const uint32_t *starts, uint32_t leaves,
		      Error **err)
{
	uint32_t nodes = count_nodes(leaves);
	unsigned char bytes[BLOCK_SIZE] = { 0 };
	unsigned char *parameters = bytes + (size_t)2 * DOT_BYTES;
	IndexBlock root = {
		.bytes = bytes,
		.count_at = ROOT_COUNT_AT,
		.limit = ROOT_ENTRIES,
		.count = (uint16_t)(nodes ? nodes : leaves),
		.starts = starts,
		.step = nodes ? NODE_ENTRIES : 1,
		.block = 1,
	};

	put_entry(bytes, writer->inode->number, DOT_BYTES, 1);
	put_entry(bytes + DOT_BYTES, parent, BLOCK_SIZE - DOT_BYTES, 2);
	parameters[4] = EXT2_HASH_HALF_MD4;
	parameters[5] = PARAMETER_BYTES;
	parameters[6] = nodes ? 1 : 0; /* levels below */
	return write_index_block(writer, &root, err);
}

int ext4_write_index(DirWriter *writer, uint32_t parent, const uint32_t *starts, uint32_t leaves,
		     Error **err)
{
	uint32_t nodes = count_nodes(leaves);

	assert(nodes <= ROOT_ENTRIES);
	if (write_root(writer, parent, starts, leaves, err) < 0)
		return -1;
	for (uint32_t first = 0; nodes && first < leaves; first += NODE_ENTRIES) {
		unsigned char bytes[BLOCK_SIZE] = { 0 };
		uint32_t left = leaves - first;
		IndexBlock node = {
			.bytes = bytes,
			.count_at = NODE_COUNT_AT,
			.limit = NODE_ENTRIES,
			.count = (uint16_t)(left < NODE_ENTRIES ? left : NODE_ENTRIES),
			.starts = starts + first,
			.step = 1,
			.block = 1 + nodes + first,
		};

		put_entry(bytes, 0, BLOCK_SIZE, 0);
		if (write_index_block(writer, &node, err) < 0)
			return -1;
	}
	return 0;
}
