/*
 * A compressor that writes gzip or zstd: bytes in, bytes out, in pieces of any size.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/blob.h"
#include "util/error.h"

typedef struct Compressor Compressor;

/* What goes in and comes out; both move on as they are used up. */
typedef struct CompressStep {
	const uint8_t *in;
	size_t in_size;
	uint8_t *out;
	size_t out_size;
	bool is_last; /* nothing comes after `in` */
} CompressStep;

/* `compression` is COMPRESSION_GZIP or COMPRESSION_ZSTD. */
Compressor *compressor_open(Compression compression);
void compressor_close(Compressor *compressor);

/* Use up input until there is no more or no room. After the last piece: 1 when all is written, else 0; -1 on error. */
int compressor_step(Compressor *compressor, CompressStep *step, Error **err);
