/*
 * What is where in the file or device of a dm-thin store.
 *
 * The first MiB is ember's: two copies of the label (at 0 and at 4096), of which the newer whole one
 * counts, so that a power cut while one is written leaves the other. Behind it come segments, each
 * of the pool's metadata or of its data; a store that grows gets more of them at its end.
 *
 * A copy is 4096 bytes, little-endian:
 *    0  "EMBERTHN"
 *    8  u32 version (1), u32 number of segments
 *   16  the owner, "ember-ab12", padded with zeros to 16
 *   32  u64 generation, u64 flags (1: the metadata was never used)
 *   48  the segments: u64 kind (1 metadata, 2 data), u64 start, u64 length in bytes
 * 4088  u64 FNV-1a of all before
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define THIN_BLOCK_BYTES    65536ULL
#define THIN_LABEL_BYTES    4096U
#define THIN_RESERVED_BYTES (1ULL << 20)
#define THIN_SEGMENTS_MAX   160
#define THIN_OWNER_MAX	    15

typedef enum ThinKind { THIN_METADATA = 1, THIN_DATA = 2 } ThinKind;

typedef struct ThinSegment {
	ThinKind kind;
	uint64_t start_bytes; /* multiples of THIN_BLOCK_BYTES, as is the length */
	uint64_t length_bytes;
} ThinSegment;

typedef struct ThinLabel {
	char owner[THIN_OWNER_MAX + 1];
	uint64_t generation;
	bool is_new; /* a metadata area of zeros becomes a pool: at no other time */
	size_t count;
	ThinSegment segments[THIN_SEGMENTS_MAX];
} ThinLabel;

/* Is that a whole copy of a label? */
bool thin_label_parse(const uint8_t data[THIN_LABEL_BYTES], ThinLabel *out_label);
void thin_label_format(const ThinLabel *label, uint8_t out_data[THIN_LABEL_BYTES]);

/* 1 there is one, 0 none. */
int thin_label_read(int fd, ThinLabel *out_label, Error **err);
/* As the next generation; durable. */
int thin_label_write(int fd, ThinLabel *label, Error **err);

/* The layout of a store of that size, and what becomes of one that grows to it: ERR_USAGE when it is too small. */
int thin_label_grow(ThinLabel *label, uint64_t total_bytes, Error **err);
uint64_t thin_label_bytes(const ThinLabel *label, ThinKind kind);
/* Where the last segment ends. */
uint64_t thin_label_end(const ThinLabel *label);
