/*
 * Taking vmlinux out of a bzImage.
 *
 * The setup header at 0x1f1 (Documentation/arch/x86/boot.rst of the Linux source) says where the compressed kernel lies
 * (payload_offset and payload_length, since protocol 2.08); its first bytes say how it is compressed. All formats but gzip
 * carry the size of vmlinux in four more bytes at the end, which are not part of the stream.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

typedef struct BzPayload {
	uint64_t offset; /* in the file */
	uint64_t length; /* of the compressed stream alone */
	const char *
		program; /* that decompresses it from stdin to stdout: lz4, xz, zstd, gzip, bzip2 */
} BzPayload;

#define BZIMAGE_MAX (256U << 20)

/* Find the payload in a whole bzImage in memory. Any bytes may be given; ERR_FAILED for what is not one. */
int bzimage_parse(const uint8_t *data, size_t len, BzPayload *out_payload, Error **err);

/* Decompress the kernel of `bzimage` to the new file `vmlinux`, and check that it is an ELF file. */
int bzimage_extract(const char *bzimage, const char *vmlinux, Error **err);
