#include "image/ext4_format.h"

/*
 * How large the filesystem is, and where the tables of its groups lie: behind the data, wherever that ends.
 */

#define DESCRIPTORS_PER_BLOCK (BLOCK_SIZE / 64u)
#define MIN_DESCRIPTOR_AREA   128u  /* blocks: 128 * 64 groups of 128 MiB = 1 TiB to grow to */
#define MIN_INODES_PER_GROUP  8192u /* one for 16 KiB, as mke2fs does: growing keeps the ratio */
#define MAX_INODES_PER_GROUP  ((uint64_t)8 * BLOCK_SIZE)
#define SPARE_INODES	      1024u
#define SPARE_BLOCKS	      4096u /* so that a guest can boot before it has grown its filesystem */
#define LAST_GROUP_SPARE      50u /* libext2fs drops a last group with less beyond its own tables */
#define SPECIAL_BLOCKS	      64u /* resize inode, extents of the journal */
#define MAX_JOURNAL_BLOCKS    16384

static bool is_power(uint64_t group, uint64_t base)
{
	uint64_t power = base;

	while (power < group)
		power *= base;
	return power == group;
}

/* sparse_super: which groups begin with a copy of the superblock and the descriptors. */
static bool has_superblock(uint64_t group)
{
	return group <= 1 || is_power(group, 3) || is_power(group, 5) || is_power(group, 7);
}

static uint64_t divide_up(uint64_t value, uint64_t by)
{
	return (value + by - 1) / by;
}

/* Blocks behind each superblock for descriptors, in use and reserved together: decided before the size is known. */
uint64_t ext4_descriptor_area(uint64_t max_bytes)
{
	uint64_t groups = divide_up(max_bytes / BLOCK_SIZE, EXT4_BLOCKS_PER_GROUP);
	uint64_t area = divide_up(groups, DESCRIPTORS_PER_BLOCK) + 1;

	return area > MIN_DESCRIPTOR_AREA ? area : MIN_DESCRIPTOR_AREA;
}

void ext4_plan(BlockMap *map, uint64_t max_bytes)
{
	uint64_t blocks = max_bytes / BLOCK_SIZE;
	uint64_t area = ext4_descriptor_area(max_bytes);

	for (uint64_t group = 0; group * EXT4_BLOCKS_PER_GROUP < blocks; group++) {
		uint64_t start = group * EXT4_BLOCKS_PER_GROUP;
		uint64_t end = start + EXT4_BLOCKS_PER_GROUP;

		if (end > blocks)
			end = blocks;
		if (has_superblock(group))
			start += 1 + area;
		if (start < end)
			blockmap_allow(map, start, end - start);
	}
}

/* Blocks for superblocks behind `from`, and for the tables that do not fit between two of them. */
static uint64_t superblock_cost(uint64_t from, uint64_t groups, uint64_t area,
				uint64_t table_blocks)
{
	uint64_t cost = 0;

	for (uint64_t group = from / EXT4_BLOCKS_PER_GROUP; group < groups; group++)
		if (has_superblock(group))
			cost += 1 + area + table_blocks;
	return cost;
}

/* What the groups of a filesystem cost. */
typedef struct Groups {
	uint64_t count;
	uint64_t inodes; /* in each */
	uint64_t table_blocks;
	uint64_t least; /* blocks of the whole below which libext2fs would drop the last group */
} Groups;

static Groups plan_groups(uint64_t count, uint64_t inodes, uint64_t area)
{
	Groups groups = { .count = count };

	groups.inodes = divide_up(divide_up(inodes, count), EXT4_INODES_PER_BLOCK) *
			EXT4_INODES_PER_BLOCK;
	if (groups.inodes < MIN_INODES_PER_GROUP)
		groups.inodes = MIN_INODES_PER_GROUP;
	groups.table_blocks = groups.inodes / EXT4_INODES_PER_BLOCK;
	groups.least = (count - 1) * EXT4_BLOCKS_PER_GROUP + 2 + groups.table_blocks +
		       LAST_GROUP_SPARE + (has_superblock(count - 1) ? 1 + area : 0);
	return groups;
}

static void take_geometry(Ext4 *ext4, const Groups *groups, uint64_t blocks)
{
	ext4->block_count = blocks;
	ext4->group_count = (uint32_t)groups->count;
	ext4->inodes_per_group = (uint32_t)groups->inodes;
}

/* As large as it may be, all that is not data in the gaps that replaced files have left. */
static int decide_full(Ext4 *ext4, uint64_t inodes, uint64_t needed, Error **err)
{
	uint64_t area = ext4_descriptor_area(ext4->params->max_bytes);
	uint64_t blocks = ext4->params->max_bytes / BLOCK_SIZE;
	Groups groups = plan_groups(divide_up(blocks, EXT4_BLOCKS_PER_GROUP), inodes, area);

	if (blocks < groups.least || groups.inodes > MAX_INODES_PER_GROUP ||
	    needed + groups.count * (2 + groups.table_blocks) > blockmap_free(&ext4->disk->map))
		return blockmap_refuse_full(err);
	take_geometry(ext4, &groups, blocks);
	return 0;
}

int ext4_decide_geometry(Ext4 *ext4, Error **err)
{
	uint64_t max_blocks = ext4->params->max_bytes / BLOCK_SIZE;
	uint64_t area = ext4_descriptor_area(ext4->params->max_bytes);
	uint64_t inodes = (uint64_t)ext4->inode_count + ext4->xattr_inodes + SPARE_INODES;
	uint64_t data = ext4->disk->map.high_water;
	int journal = ext2fs_default_journal_size(max_blocks);
	uint64_t needed, total;
	Groups groups;

	ext4->journal_blocks =
		(uint32_t)(journal > MAX_JOURNAL_BLOCKS ? MAX_JOURNAL_BLOCKS : journal);
	needed = ext4->xattr_blocks + ext4->journal_blocks + SPECIAL_BLOCKS;
	for (uint64_t count = divide_up(inodes, MAX_INODES_PER_GROUP);;) {
		groups = plan_groups(count, inodes, area);
		total = data + needed + SPARE_BLOCKS + count * (2 + groups.table_blocks) +
			superblock_cost(data, count, area, groups.table_blocks);
		if (divide_up(total, EXT4_BLOCKS_PER_GROUP) <= count)
			break;
		count = divide_up(total, EXT4_BLOCKS_PER_GROUP);
	}
	if (total < groups.least)
		total = groups.least;
	if (total > max_blocks)
		return decide_full(ext4, inodes, needed, err);
	take_geometry(ext4, &groups, total);
	return 0;
}

int ext4_place_tables(Ext4 *ext4, Error **err)
{
	BlockMap *map = &ext4->disk->map;
	uint64_t at = 0;

	for (dgrp_t group = 0; group < ext4->group_count; group++) {
		if (blockmap_take_whole(map, 1, &at, err) < 0)
			return -1;
		ext2fs_block_bitmap_loc_set(ext4->fs, group, at);
	}
	for (dgrp_t group = 0; group < ext4->group_count; group++) {
		if (blockmap_take_whole(map, 1, &at, err) < 0)
			return -1;
		ext2fs_inode_bitmap_loc_set(ext4->fs, group, at);
	}
	for (dgrp_t group = 0; group < ext4->group_count; group++) {
		if (blockmap_take_whole(map, ext4->inodes_per_group / EXT4_INODES_PER_BLOCK, &at,
					err) < 0)
			return -1;
		ext2fs_inode_table_loc_set(ext4->fs, group, at);
	}
	if (map->high_water > ext4->block_count)
		return blockmap_refuse_full(err);
	return 0;
}
