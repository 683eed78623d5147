/*
 * Compressors: gzip by isa-l, four times as fast, or zlib, which is everywhere; zstd by libzstd. Bytes in, bytes out, in
 * pieces of any size.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/blob.h"
#include "util/error.h"

/* What goes in and comes out; both move on as they are used up. */
typedef struct CompressStep {
	const uint8_t *in;
	size_t in_size;
	uint8_t *out;
	size_t out_size;
	bool is_last; /* nothing comes after `in` */
} CompressStep;

typedef struct CompressLibrary {
	const char *name;
	Compression compression;
	void *(*open)(void);
	void (*close)(void *stream);
	/* Use up input until there is no more of it or no room. After the last piece: 1 when all has come out, else 0;
	 * -1 on error. */
	int (*step)(void *stream, CompressStep *step, Error **err);
} CompressLibrary;

/* NULL: the fastest there is for the compression; else the one of that name, or NULL. */
const CompressLibrary *compress_library(Compression compression, const char *name);

extern const CompressLibrary compress_isal;
extern const CompressLibrary compress_zlib;
extern const CompressLibrary compress_zstd;
