/*
 * A layer's blob as a stream of tar bytes: read, decompressed, and checked in passing against its size, its digest and
 * the digest of what is in it (diff_id). What does not match is an error at the end at the latest, and the caller then
 * throws away what it made of it.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "image/deflate.h"
#include "util/error.h"

typedef enum Compression {
	COMPRESSION_NONE,
	COMPRESSION_GZIP,  /* members may follow each other; zeros behind them are accepted */
	COMPRESSION_ZSTD,  /* frames, skippable ones too, may follow each other */
	COMPRESSION_GUESS, /* by the first bytes: a plain tar has no media type */
} Compression;

#define BLOB_UNKNOWN_SIZE    UINT64_MAX
#define BLOB_MAX_WINDOW_LOG2 26 /* of zstd: 64 MiB */

typedef struct BlobSpec {
	int fd; /* borrowed */
	Compression compression;
	uint64_t size;	     /* of the file in bytes, or BLOB_UNKNOWN_SIZE */
	const char *digest;  /* of the file; NULL: not checked */
	const char *diff_id; /* of the decompressed bytes; NULL: not checked */
	char **bad_blob; /* gets a copy of `digest` when the file is not what it says; may be NULL */
	const DeflateLibrary *deflate; /* what gzip is read with; NULL: the fastest there is */
} BlobSpec;

/* What a whole import may stream, and who hears of its progress. */
typedef struct BlobMeter {
	uint64_t bytes_left; /* decompressed */
	uint64_t bytes_read; /* of the files */
	void (*on_read)(void *arg, uint64_t bytes_read);
	void *arg;
} BlobMeter;

typedef struct Blob Blob;

/* The spec's strings are borrowed as long as the blob is open. */
Blob *blob_open(const BlobSpec *spec, BlobMeter *meter);
void blob_close(Blob *blob);

/* The next decompressed bytes, valid until the next call. Returns their number, 0 at a clean end, -1 on error. */
ssize_t blob_read(Blob *blob, const void **out_data, Error **err);

/* After blob_read() has returned 0: does everything match? The caller owns the diff_id. */
int blob_finish(Blob *blob, char **out_diff_id, Error **err);

/* After a failure: is the file itself not what its digest says? Reads it to its end; if so, replaces the error by
 * that, which is the better explanation. */
void blob_explain(Blob *blob, Error **err);

static inline void cleanup_blob_ptr(Blob **blob)
{
	blob_close(*blob);
}
#define auto_blob CLEANUP(cleanup_blob_ptr)
