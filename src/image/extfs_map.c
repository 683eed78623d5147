#include <stdlib.h>

#include "image/extfs_format.h"
#include "util/mem.h"

/*
 * Where a file's blocks are: a tree of extents, or ext2's lists of block numbers and lists of lists.
 */

#define MAX_RUNS (4u << 20)

#define EXTENT_MAGIC	   0xf30au
#define EXTENT_HEADER_SIZE 12u
#define EXTENT_ENTRY_SIZE  12u
#define EXTENT_MAX_DEPTH   5u
#define EXTENT_MAX_LENGTH \
	32768u /* beyond it is the length of an extent that is reserved, not written */

/* Offsets in an extent node's header, and in an entry of a leaf or an inner node. */
enum {
	HEADER_COUNT = 2,
	HEADER_ROOM = 4,
	HEADER_DEPTH = 6,
	LEAF_LOGICAL = 0,
	LEAF_LENGTH = 4,
	LEAF_START_HIGH = 6,
	LEAF_START = 8,
	INDEX_NODE = 4,
	INDEX_NODE_HIGH = 8,
};

#define DIRECT_BLOCKS 12u

typedef struct Mapping {
	Extfs *fs;
	const ExtInode *inode;
	ExtMap map;
	uint64_t end;  /* of the file, in blocks */
	uint64_t next; /* the first logical block that may come next */
} Mapping;

static int add_run(Mapping *mapping, uint64_t logical, uint64_t physical, uint64_t count,
		   Error **err)
{
	ExtMap *map = &mapping->map;
	ExtRun *last = map->count > 0 ? &map->runs[map->count - 1] : NULL;

	if (!extfs_has_blocks(mapping->fs, physical, count))
		return extfs_damaged(err, "block %llu of a file does not exist",
				     (unsigned long long)physical);
	/* What is reserved behind the end belongs to the file, but not to its content. */
	if (logical >= mapping->end)
		return 0;
	if (count > mapping->end - logical)
		count = mapping->end - logical;
	if (extfs_spend(mapping->fs, count, err) < 0)
		return -1;
	if (last && last->logical + last->count == logical &&
	    last->physical + last->count == physical) {
		last->count += count;
		return 0;
	}
	if (map->count == MAX_RUNS)
		return error_set(err, ERR_UNSUPPORTED, "a file is in more than %u pieces",
				 MAX_RUNS);
	if (map->count == map->room) {
		map->room = map->room ? map->room * 2 : 16;
		map->runs = xreallocarray(map->runs, map->room, sizeof(*map->runs));
	}
	map->runs[map->count++] = (ExtRun){ logical, physical, count };
	return 0;
}

static int check_extent_checksum(const Mapping *mapping, const uint8_t *node, Error **err)
{
	size_t tail = EXTENT_HEADER_SIZE + (size_t)get16(node + HEADER_ROOM) * EXTENT_ENTRY_SIZE;

	if (!mapping->fs->has_checksums)
		return 0;
	if (tail + 4 > mapping->fs->block_size ||
	    extfs_checksum(mapping->inode->seed, node, tail) != get32(node + tail))
		return extfs_damaged(err, "the checksum of an extent block is wrong");
	return 0;
}

static int take_extent(Mapping *mapping, const uint8_t *entry, Error **err)
{
	uint32_t logical = get32(entry + LEAF_LOGICAL);
	uint32_t length = get16(entry + LEAF_LENGTH);
	uint64_t physical = get32(entry + LEAF_START) | (uint64_t)get16(entry + LEAF_START_HIGH)
								<< 32;
	bool is_reserved = length > EXTENT_MAX_LENGTH;

	if (is_reserved)
		length -= EXTENT_MAX_LENGTH;
	if (length == 0 || logical < mapping->next)
		return extfs_damaged(err, "extents overlap");
	mapping->next = (uint64_t)logical + length;
	return is_reserved ? 0 : add_run(mapping, logical, physical, length, err);
}

/* A node of `size` bytes that must be `depth` above the leaves; deeper ones are read, checked and paid for one by one. */
static int take_node(Mapping *mapping, const uint8_t *node, size_t size, unsigned depth,
		     Error **err)
{
	size_t count = get16(node + HEADER_COUNT);
	size_t room = (size - EXTENT_HEADER_SIZE) / EXTENT_ENTRY_SIZE;
	auto_free uint8_t *block = depth ? xmalloc(mapping->fs->block_size) : NULL;

	if (get16(node) != EXTENT_MAGIC || get16(node + HEADER_DEPTH) != depth || count > room ||
	    count > get16(node + HEADER_ROOM))
		return extfs_damaged(err, "a block of extents is none");
	for (size_t i = 0; i < count; i++) {
		const uint8_t *entry = node + EXTENT_HEADER_SIZE + i * EXTENT_ENTRY_SIZE;

		if (!depth) {
			if (take_extent(mapping, entry, err) < 0)
				return -1;
			continue;
		}
		if (extfs_read_block(mapping->fs,
				     get32(entry + INDEX_NODE) |
					     (uint64_t)get16(entry + INDEX_NODE_HIGH) << 32,
				     block, err) < 0 ||
		    check_extent_checksum(mapping, block, err) < 0 ||
		    take_node(mapping, block, mapping->fs->block_size, depth - 1, err) < 0)
			return -1;
	}
	return 0;
}

static int take_extents(Mapping *mapping, Error **err)
{
	const uint8_t *root = mapping->inode->raw + INODE_BLOCK;
	unsigned depth = get16(root + HEADER_DEPTH);

	if (depth > EXTENT_MAX_DEPTH)
		return extfs_damaged(err, "extents are nested too deep");
	return take_node(mapping, root, INODE_BLOCK_SIZE, depth, err);
}

/* How many blocks of a file one block number stands for at this level: 1, then block_size / 4 times as many each. */
static uint64_t span_of(const Extfs *fs, unsigned level)
{
	uint64_t span = 1;

	while (level-- > 0)
		span *= fs->block_size / 4;
	return span;
}

static int take_number(Mapping *mapping, uint32_t number, unsigned level, uint64_t logical,
		       Error **err)
{
	uint64_t span = span_of(mapping->fs, level);
	auto_free uint8_t *block = NULL;

	if (number == 0 || logical >= mapping->end)
		return 0;
	if (level == 0)
		return add_run(mapping, logical, number, 1, err);
	block = xmalloc(mapping->fs->block_size);
	if (extfs_read_block(mapping->fs, number, block, err) < 0)
		return -1;
	for (uint32_t i = 0; i < mapping->fs->block_size / 4; i++)
		if (take_number(mapping, get32(block + (size_t)i * 4), level - 1,
				logical + i * (span / (mapping->fs->block_size / 4)), err) < 0)
			return -1;
	return 0;
}

static int take_numbers(Mapping *mapping, Error **err)
{
	const uint8_t *numbers = mapping->inode->raw + INODE_BLOCK;
	uint64_t logical = 0;

	for (unsigned i = 0; i < DIRECT_BLOCKS + 3; i++) {
		unsigned level = i < DIRECT_BLOCKS ? 0 : i - DIRECT_BLOCKS + 1;

		if (take_number(mapping, get32(numbers + (size_t)i * 4), level, logical, err) < 0)
			return -1;
		logical += span_of(mapping->fs, level);
	}
	return 0;
}

static void mapping_release(Mapping *mapping)
{
	ext_map_release(&mapping->map);
}

int extfs_map(Extfs *fs, const ExtInode *inode, ExtMap *out, Error **err)
{
	CLEANUP(mapping_release)
	Mapping mapping = { .fs = fs,
			    .inode = inode,
			    .end = (inode->size + fs->block_size - 1) / fs->block_size };
	int result = 0;

	/* Of an empty file not even the map's first bytes must mean anything. */
	if (mapping.end > 0 && (inode->flags & EXT4_EXTENTS_FL))
		result = take_extents(&mapping, err);
	else if (mapping.end > 0)
		result = take_numbers(&mapping, err);
	if (result < 0)
		return -1;
	*out = mapping.map;
	mapping.map = (ExtMap){ 0 };
	return 0;
}

void ext_map_release(ExtMap *map)
{
	free(map->runs);
	*map = (ExtMap){ 0 };
}
