/*
 * The parts of the qcow2 back end: overlays on sealed images, on any filesystem, by nobody in particular. What is in its
 * store: qcow2_layers.h. The functions have the shapes and contracts of StorageBackend (backend/storage.h), whose table is
 * in qcow2.c. The pool is that of clonefile.h, since an import, a directory and its space are the same here.
 */
#pragma once

#include "storage/clonefile.h"
#include "storage/qcow2_read.h"

/* The file that a volume is. */
typedef struct Qcow2Volume {
	char *file; /* its name in the store */
	bool is_raw;
	bool is_sealed;
	uint64_t inode;
} Qcow2Volume;

/* ERR_NOT_FOUND. */
int qcow2_find(const StoragePool *pool, const char *volume, Qcow2Volume *out_found, Error **err);
void qcow2_volume_release(Qcow2Volume *volume);
#define auto_qcow2_volume CLEANUP(qcow2_volume_release)

/* Two names of one file? */
bool qcow2_is_same(const StoragePool *pool, const char *one, const char *other);
int qcow2_check_size(uint64_t size_bytes, Error **err);
/* Remove files of the store, from the last to the first. */
int qcow2_remove(const StoragePool *pool, const Strv *files, Error **err);

int qcow2_clone(StoragePool *pool, const char *from, const char *to, uint64_t size_bytes,
		const StorageLive *live, Error **err);
int qcow2_read(StoragePool *pool, const char *volume, uint64_t offset, void *data, size_t len,
	       Error **err);
int qcow2_copy_out(StoragePool *pool, const char *volume, int fd, FsProgress progress, void *arg,
		   Error **err);
int qcow2_copy_in(StoragePool *pool, const char *volume, int fd, Error **err);
int qcow2_optimize(StoragePool *pool, const char *volume, void (*begun)(void *arg), void *arg,
		   bool *out_done, Error **err);
int qcow2_usage(StoragePool *pool, const Strv *groups, size_t group_count, StorageUsage *out_usage,
		Error **err);
