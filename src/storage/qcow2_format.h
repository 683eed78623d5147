/*
 * The part of the qcow2 format that ember writes: overlays of one shape, whose headers are made and read here without any
 * other program. Specification: docs/interop/qcow2.txt in the QEMU sources.
 *
 * Version 3, clusters of 128 KiB that are allocated in subclusters of 4 KiB (extended L2 entries), no lazy refcounts, no
 * compression, no internal snapshots. The first write to a fresh overlay is then one of 4 KiB, and a table of 128 KiB maps
 * 1 GiB. A backing file is a layer of the same directory, named without any path.
 *
 * Everything in the file is big-endian.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define QCOW2_CLUSTER	 (128ULL << 10)
#define QCOW2_SUBCLUSTER 4096ULL
#define QCOW2_SUBS	 32 /* of a cluster */
/* A cluster full of extended L2 entries maps this much. */
#define QCOW2_L2_ENTRIES (QCOW2_CLUSTER / 16)
#define QCOW2_L2_BYTES	 (QCOW2_L2_ENTRIES * QCOW2_CLUSTER)
/* One cluster is set aside for the L1 table, so that a disk grows by its header alone. */
#define QCOW2_L1_ENTRIES (QCOW2_CLUSTER / 8)
#define QCOW2_SIZE_MAX	 (QCOW2_L1_ENTRIES * QCOW2_L2_BYTES)
/* What is read of a file to find its header, and what is written: it all fits. */
#define QCOW2_HEADER_BYTES 4096
#define QCOW2_NAME_MAX	   127
#define QCOW2_SIZE_AT	   24 /* where the size of the disk is in the header */

/* Of L1 and L2 entries: where in the file it is. */
#define QCOW2_OFFSET_MASK 0x00fffffffffffe00ULL
#define QCOW2_COPIED	  (1ULL << 63)
#define QCOW2_COMPRESSED  (1ULL << 62)

typedef struct Qcow2Header {
	uint64_t size_bytes; /* what the guest sees */
	uint32_t l1_entries;
	uint64_t l1_offset;
	uint64_t refcount_offset;
	char backing[QCOW2_NAME_MAX + 1]; /* "": none */
	bool backing_is_raw;
} Qcow2Header;

/* The first bytes of a file. ERR_UNSUPPORTED for a shape that is not ours, ERR_FAILED for damage. Nothing of it is trusted:
 * offsets are aligned, tables are of a possible size, the name of a backing file has no path. */
int qcow2_parse(const uint8_t *data, size_t len, Qcow2Header *out_header, Error **err);
/* QCOW2_HEADER_BYTES of it. */
void qcow2_print(const Qcow2Header *header, uint8_t *out_data);

static inline uint64_t qcow2_get64(const void *at)
{
	const uint8_t *byte = at;
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | byte[i];
	return value;
}

static inline void qcow2_put64(void *at, uint64_t value)
{
	uint8_t *byte = at;

	for (int i = 7; i >= 0; i--, value >>= 8)
		byte[i] = (uint8_t)value;
}
