/*
 * Raw deflate (RFC 1951) by one of two libraries: isa-l, three times as fast, or zlib, which is everywhere. Both give
 * the CRC-32 of what came out; gzip.h puts header and trailer around it, so that a stream is good or damaged for
 * the same reasons whichever of them is at work.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

#define DEFLATE_MAX_UNREAD 8u

typedef struct DeflateInput {
	const unsigned char *data; /* moved on, with size */
	size_t size;
	bool ended; /* out: the last block is over, and all of it has come out */
	/* out, once it has ended: bytes behind it that the library has taken in, to be read before `data` */
	unsigned char unread[DEFLATE_MAX_UNREAD];
	size_t unread_count;
} DeflateInput;

typedef struct DeflateLibrary {
	const char *name;
	void *(*open)(void);
	void (*close)(void *stream);
	/* Begin another stream. */
	void (*reset)(void *stream);
	/* The number of bytes put into `out`, -1 on error. 0 before the end: it wants more input. */
	ssize_t (*run)(void *stream, DeflateInput *input, void *out, size_t room, Error **err);
	/* Of all that came out, once the stream has ended. */
	uint32_t (*crc)(const void *stream);
} DeflateLibrary;

/* The library of that name, NULL if ember was built without it; NULL names the fastest there is. */
const DeflateLibrary *deflate_library(const char *name);
/* "isa-l, zlib": what there is, the fastest first. */
extern const char deflate_names[];

extern const DeflateLibrary deflate_isal;
extern const DeflateLibrary deflate_zlib;
