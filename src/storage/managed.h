/*
 * Inside a managed store (managed.c): the parts that its files share. The caller of what takes a
 * Backing holds it open, and with it the store's lock.
 */
#pragma once

#include "backend/storage.h"
#include "storage/backing.h"

typedef struct Filesystem {
	const char *name;
	long magic; /* of statfs(2) */
	const char *mkfs;
	const char *const *mkfs_args;
	/* Discards of deleted disks stall the store for seconds, so they are not made as we go;
	 * nodiscard is btrfs's word for what XFS does anyway. */
	const char *mount_options;
	/* Spread the filesystem mounted there over the whole of its device. Idempotent. */
	int (*grow)(const char *dir, Error **err);
} Filesystem;

/* ERR_DENIED with that sentence for everybody else. */
int managed_require_root(const char *what, Error **err);
/* The error about a store that is not where it was. */
int managed_missing(const StorageSite *site, Error **err);

/* Is the content of this kind and of this installation? 1 yes, 0 it is empty, -1 it is not ours. */
int managed_recognise(const StorageSite *site, const Filesystem *fs, const Backing *backing,
		      Error **err);
/* 1 it is mounted, 0 not yet, -1 something foreign is in the way. */
int managed_is_mounted(const StorageSite *site, const Filesystem *fs, Error **err);
/* Mount what is ours, unless it is, and see that it does what it is for. */
int managed_bring_up(const StorageSite *site, const Filesystem *fs, const Backing *backing,
		     Error **err);

/* managed_space.c: StorageBackend's functions, and what they need of a filesystem. */
int managed_grow(const StorageSite *site, const Filesystem *fs, uint64_t size_bytes, Error **err);
int managed_trim(StoragePool *pool, StorageTrim *out_trim, Error **err);
int managed_grow_btrfs(const char *dir, Error **err);
int managed_grow_xfs(const char *dir, Error **err);
