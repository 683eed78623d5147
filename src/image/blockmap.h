/*
 * Which 4 KiB blocks of the image are free. Handing out goes forward only (a bump over the free runs), so what is
 * written in sequence lies in sequence; blocks that are given back are used again once the end has been reached.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/compiler.h"
#include "util/error.h"

#define BLOCK_SIZE 4096u

typedef struct BlockRun {
	uint64_t start;
	uint64_t count;
} BlockRun;

typedef struct BlockRuns {
	BlockRun *items;
	size_t count;
	size_t capacity;
} BlockRuns;

typedef struct BlockMap {
	BlockRuns usable;    /* all that may ever be handed out, ascending */
	BlockRuns free;	     /* ascending; those before `cursor` wait for the next round */
	BlockRuns returned;  /* given back since the last round, in any order */
	size_t cursor;	     /* index in `free` */
	uint64_t high_water; /* one past the highest block handed out */
} BlockMap;

/* Allow a run of blocks; runs come in ascending order. Only before the first blockmap_take(). */
void blockmap_allow(BlockMap *map, uint64_t start, uint64_t count);
void blockmap_release(BlockMap *map);

/* Up to `want` blocks in one run. ERR_UNSUPPORTED when none is left: the image is larger than it may be. */
int blockmap_take(BlockMap *map, uint64_t want, BlockRun *out_run, Error **err);
/* Exactly `count` blocks in one run. */
int blockmap_take_whole(BlockMap *map, uint64_t count, uint64_t *out_start, Error **err);
/* Blocks that are not in use. */
uint64_t blockmap_free(const BlockMap *map);
/* The error of a full image; returns -1. */
int blockmap_refuse_full(Error **err);
void blockmap_return(BlockMap *map, uint64_t start, uint64_t count);

/* The runs in use, ascending; the caller frees out->items. No more is taken afterwards. */
void blockmap_used(BlockMap *map, BlockRuns *out);

#define auto_blockmap CLEANUP(blockmap_release)
