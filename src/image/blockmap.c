#include "image/blockmap.h"

#include <assert.h>
#include <stdlib.h>

#include "util/mem.h"

static void runs_add(BlockRuns *runs, uint64_t start, uint64_t count)
{
	BlockRun *last = runs->count ? &runs->items[runs->count - 1] : NULL;

	if (!count)
		return;
	if (last && last->start + last->count == start) {
		last->count += count;
		return;
	}
	if (runs->count == runs->capacity) {
		runs->capacity = runs->capacity ? 2 * runs->capacity : 16;
		runs->items = xreallocarray(runs->items, runs->capacity, sizeof(BlockRun));
	}
	assert(runs->items);
	runs->items[runs->count++] = (BlockRun){ start, count };
}

static void runs_release(BlockRuns *runs)
{
	free(runs->items);
	*runs = (BlockRuns){ 0 };
}

void blockmap_allow(BlockMap *map, uint64_t start, uint64_t count)
{
	runs_add(&map->usable, start, count);
	runs_add(&map->free, start, count);
}

void blockmap_release(BlockMap *map)
{
	runs_release(&map->usable);
	runs_release(&map->free);
	runs_release(&map->returned);
	*map = (BlockMap){ 0 };
}

static int compare_runs(const void *a, const void *b)
{
	const BlockRun *one = a;
	const BlockRun *two = b;

	return (one->start > two->start) - (one->start < two->start);
}

/* Begin the next round: what was passed over and what was returned, sorted and joined. */
static void collect(BlockMap *map)
{
	BlockRuns all = { 0 };

	for (size_t i = 0; i < map->free.count; i++)
		runs_add(&map->returned, map->free.items[i].start, map->free.items[i].count);
	if (map->returned.count)
		qsort(map->returned.items, map->returned.count, sizeof(BlockRun), compare_runs);
	for (size_t i = 0; i < map->returned.count; i++)
		runs_add(&all, map->returned.items[i].start, map->returned.items[i].count);
	runs_release(&map->returned);
	runs_release(&map->free);
	map->free = all;
	map->cursor = 0;
}

static void take_from(BlockMap *map, BlockRun *run, uint64_t count)
{
	run->start += count;
	run->count -= count;
	if (run->start > map->high_water)
		map->high_water = run->start;
}

int blockmap_refuse_full(Error **err)
{
	error_set(err, ERR_UNSUPPORTED, "the image is larger than it may be");
	return error_hint(err, "allow more with --max-size");
}

int blockmap_take(BlockMap *map, uint64_t want, BlockRun *out_run, Error **err)
{
	for (int round = 0; round < 2; round++) {
		for (; map->cursor < map->free.count; map->cursor++) {
			BlockRun *run = &map->free.items[map->cursor];
			uint64_t count = run->count < want ? run->count : want;

			if (!count)
				continue;
			*out_run = (BlockRun){ run->start, count };
			take_from(map, run, count);
			return 0;
		}
		collect(map);
	}
	return blockmap_refuse_full(err);
}

int blockmap_take_whole(BlockMap *map, uint64_t count, uint64_t *out_start, Error **err)
{
	for (int round = 0; round < 2; round++) {
		for (size_t i = map->cursor; i < map->free.count; i++) {
			BlockRun *run = &map->free.items[i];

			if (run->count < count)
				continue;
			*out_start = run->start;
			take_from(map, run, count);
			return 0;
		}
		collect(map);
	}
	return blockmap_refuse_full(err);
}

void blockmap_return(BlockMap *map, uint64_t start, uint64_t count)
{
	runs_add(&map->returned, start, count);
}

uint64_t blockmap_free(const BlockMap *map)
{
	uint64_t blocks = 0;

	for (size_t i = 0; i < map->free.count; i++)
		blocks += map->free.items[i].count;
	for (size_t i = 0; i < map->returned.count; i++)
		blocks += map->returned.items[i].count;
	return blocks;
}

void blockmap_used(BlockMap *map, BlockRuns *out)
{
	size_t next = 0;

	collect(map);
	for (size_t i = 0; i < map->usable.count; i++) {
		uint64_t at = map->usable.items[i].start;
		uint64_t end = at + map->usable.items[i].count;

		for (; next < map->free.count && map->free.items[next].start < end; next++) {
			const BlockRun *gap = &map->free.items[next];

			runs_add(out, at, gap->start - at);
			at = gap->start + gap->count;
		}
		runs_add(out, at, end - at);
	}
}
