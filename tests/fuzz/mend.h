/*
 * A fuzzer that changes a byte of a tar's header makes its checksum wrong, and no further than to that would it ever
 * come. So the checksums of plain tars are mended before they are read.
 */
#pragma once

#include <stdint.h>
#include <string.h>

enum { MEND_BLOCK = 512, MEND_SIZE_AT = 124, MEND_SUM_AT = 148, MEND_SUM_SIZE = 8 };

/* The size field, as far as it is octal; huge for other ways to write it. */
static inline uint64_t tar_size(const uint8_t *header)
{
	uint64_t size = 0;

	for (int i = 0;
	     i < 12 && header[MEND_SIZE_AT + i] >= '0' && header[MEND_SIZE_AT + i] <= '7'; i++)
		size = size * 8 + (uint64_t)(header[MEND_SIZE_AT + i] - '0');
	return header[MEND_SIZE_AT] & 0x80 ? UINT64_MAX / 2 : size;
}

static inline void tar_mend(uint8_t *tar, size_t size)
{
	static const uint8_t zeros[MEND_BLOCK];

	for (size_t at = 0; size - at >= MEND_BLOCK; at += MEND_BLOCK) {
		uint8_t *header = tar + at;
		unsigned sum = 0;
		uint64_t content = (tar_size(header) + MEND_BLOCK - 1) / MEND_BLOCK * MEND_BLOCK;

		if (memcmp(header, zeros, MEND_BLOCK) == 0)
			continue;
		memset(header + MEND_SUM_AT, ' ', MEND_SUM_SIZE);
		for (size_t i = 0; i < MEND_BLOCK; i++)
			sum += header[i];
		header[MEND_SUM_AT + 6] = '\0';
		for (int i = 5; i >= 0; i--, sum /= 8)
			header[MEND_SUM_AT + i] = (uint8_t)('0' + sum % 8);
		if (content > size - at - MEND_BLOCK)
			return;
		at += content;
	}
}
