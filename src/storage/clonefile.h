/*
 * The engine of every store that keeps volumes as files on a filesystem that clones files: XFS,
 * btrfs and bcachefs by FICLONE, APFS by clonefile.
 *
 * A volume is STORE/ID.raw. An image being imported is STORE/ID.part until it is complete; from
 * then on it is sealed (0444): VMs are cloned from it and nobody may write to it. The functions
 * have the shapes and contracts of StorageBackend (backend/storage.h), whose tables name them.
 */
#pragma once

#include "backend/storage.h"

struct StoragePool {
	char *dir;	 /* the store, mounted and ready */
	char *host_file; /* the file that the store's filesystem lives in, NULL: none */
	bool sync_brings_name;
};

/* Make the directory ready to hold volumes. Idempotent. */
int clonefile_prepare(const char *dir, Error **err);
/* `host_file` may be NULL. */
int clonefile_open(const char *dir, const char *host_file, StoragePool **out_pool, Error **err);
void clonefile_close(StoragePool *pool);

int clonefile_import_path(StoragePool *pool, const char *volume, char **out_path, Error **err);
int clonefile_import_commit(StoragePool *pool, const char *volume, Error **err);
int clonefile_clone(StoragePool *pool, const char *from, const char *to, uint64_t size_bytes,
		    const StorageLive *live, Error **err);
int clonefile_seal(StoragePool *pool, const char *volume, Error **err);
int clonefile_destroy(StoragePool *pool, const char *volume, Error **err);
int clonefile_resize(StoragePool *pool, const char *volume, uint64_t size_bytes, bool is_live,
		     Error **err);
int clonefile_attach(StoragePool *pool, const char *volume, StorageDisk *out_disk, Error **err);
int clonefile_list(StoragePool *pool, Strv *out_volumes, Error **err);
char *clonefile_path(const StorageSite *site, const char *volume);
int clonefile_size(StoragePool *pool, const char *volume, uint64_t *out_bytes, Error **err);
int clonefile_capacity(StoragePool *pool, StorageCapacity *out_capacity, Error **err);
int clonefile_usage(StoragePool *pool, const Strv *groups, size_t group_count,
		    StorageUsage *out_usage, Error **err);

/* The volume's file, a sealed one or that of an import; owned. */
char *clonefile_volume_file(const StoragePool *pool, const char *volume);
char *clonefile_import_file(const StoragePool *pool, const char *volume);
