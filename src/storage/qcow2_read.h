/*
 * Reading a volume through its layers, without a hypervisor: what is where, and the bytes themselves.
 *
 * A chain is what it is as long as nobody writes to its first file; all others never change. Their names may go meanwhile.
 */
#pragma once

#include "storage/qcow2_format.h"

/* More files on each other than that are not opened: each costs QEMU a descriptor and every read a look. */
#define QCOW2_CHAIN_MAX 64

typedef struct Qcow2Layer {
	char *file; /* its name in the store */
	int fd;
	bool is_raw;
	uint64_t size_bytes; /* of the disk */
	Qcow2Header header;
	uint64_t *l1; /* as many as the disk has; in the host's byte order */
	size_t l1_count;
	uint64_t l2_at;		       /* where the table in `l2` is from; 0: nowhere */
	uint8_t *l2;		       /* a cluster, as it is in the file */
	uint64_t hole_from, data_from; /* raw: nothing between the two; equal: not known */
} Qcow2Layer;

typedef struct Qcow2Chain {
	const char *dir;    /* borrowed */
	Qcow2Layer *layers; /* the volume itself first */
	size_t count;
} Qcow2Chain;

int qcow2_chain_open(const char *dir, const char *file, Qcow2Chain *out_chain, Error **err);
void qcow2_chain_release(Qcow2Chain *chain);
#define auto_qcow2_chain CLEANUP(qcow2_chain_release)

/* Only the header of one file. ERR_NOT_FOUND. */
int qcow2_read_header(const char *dir, const char *file, Qcow2Header *out_header, Error **err);

/* And how many L2 tables the file has. */
int qcow2_count_tables(const char *dir, const char *file, Qcow2Header *out_header,
		       uint64_t *out_tables, Error **err);

/* Is the first file an overlay that nothing was written to? */
bool qcow2_chain_is_untouched(const Qcow2Chain *chain);

/* What a subcluster of the disk comes from. */
typedef struct Qcow2Piece {
	enum {
		QCOW2_NOWHERE,
		QCOW2_ZEROES,
		QCOW2_DATA
	} kind; /* of all layers, no one; that one says zeroes; has it */
	size_t layer;
	uint64_t offset; /* QCOW2_DATA: in that layer's file */
} Qcow2Piece;

/* The pieces of the cluster `number` of the disk, as if the chain began with the layer `from`. */
int qcow2_chain_map(Qcow2Chain *chain, size_t from, uint64_t number, Qcow2Piece *out_pieces,
		    Error **err);
/* A cluster's bytes; what is beyond the disk's end is zero. 1: there is data in it, 0: it is all zeroes. */
int qcow2_chain_read(Qcow2Chain *chain, size_t from, uint64_t number, uint8_t *out_data,
		     Error **err);

/* In clusters, the last one may be a part of one. */
static inline uint64_t qcow2_clusters(uint64_t size_bytes)
{
	return (size_bytes + QCOW2_CLUSTER - 1) / QCOW2_CLUSTER;
}
