/*
 * A tar on its way out: bytes go in, are hashed (the layer's diff_id), compressed, hashed again (the blob's digest) and
 * written to a descriptor. gzip is written by isa-l where ember was built with it, else by zlib.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "image/blob.h"
#include "util/compiler.h"
#include "util/error.h"

typedef struct Packed {
	char *digest;  /* of what was written */
	char *diff_id; /* of what went in */
	uint64_t size; /* of what was written */
} Packed;

typedef struct Packer Packer;

/* `fd` is borrowed: a file, pipe or socket. */
Packer *packer_open(int fd, Compression compression);
void packer_close(Packer *packer);

/* Where the next bytes may be put, at least one; packer_advance() then says how many there are. */
int packer_room(Packer *packer, uint8_t **out_room, size_t *out_size, Error **err);
void packer_advance(Packer *packer, size_t size);
int packer_add(Packer *packer, const void *data, size_t size, Error **err);
int packer_add_zeros(Packer *packer, uint64_t size, Error **err);
/* How many bytes went in. */
uint64_t packer_position(const Packer *packer);

/* Write what is still held back. Nothing may be added after it. */
int packer_finish(Packer *packer, Packed *out, Error **err);

void packed_release(Packed *packed);
#define auto_packed CLEANUP(packed_release)

static inline void cleanup_packer_ptr(Packer **packer)
{
	packer_close(*packer);
}
#define auto_packer CLEANUP(cleanup_packer_ptr)
