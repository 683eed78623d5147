/*
 * Writing an overlay from its first cluster to its last: header, tables, data, reference counts. One without any data is
 * 12 KiB on disk and costs one fsync.
 */
#pragma once

#include "storage/qcow2_format.h"

typedef struct Qcow2Writer {
	int fd; /* borrowed; a new file */
	Qcow2Header header;
	uint64_t next;	/* the next free cluster of the file */
	uint64_t table; /* which L2 table is in `l2`; UINT64_MAX: none */
	uint64_t l2_at; /* where it goes */
	uint8_t *l2;	/* a cluster */
	uint8_t *l1;	/* a cluster */
} Qcow2Writer;

/* `size_bytes` may not be more than QCOW2_SIZE_MAX; `backing` is the name of a layer, or NULL. */
void qcow2_writer_begin(Qcow2Writer *writer, int fd, uint64_t size_bytes, const char *backing);
/* The cluster `number` of the disk, in ascending order. Of its subclusters those in `has` are data (the rest of `data` is
 * not looked at), those in `zeroes` are zeroes, and all others are as in the backing file. */
int qcow2_writer_put(Qcow2Writer *writer, uint64_t number, const uint8_t *data, uint32_t has,
		     uint32_t zeroes, Error **err);
/* The header goes last. Not synced. */
int qcow2_writer_finish(Qcow2Writer *writer, Error **err);
void qcow2_writer_release(Qcow2Writer *writer);
#define auto_qcow2_writer CLEANUP(qcow2_writer_release)
