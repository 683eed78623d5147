/*
 * The pool that a ZFS store is in: one that the administrator has (`pool` of the site alone), or one of ember's own, on a
 * device or in a sparse file. A pool of ember's own in a file is in no cachefile: ember imports it when it needs it.
 */
#pragma once

#include "storage/backing.h"
#include "storage/zfs.h"

/* Owned names. */
char *zfs_pool_name(const StorageSite *site);
/* With the pool's name; ERR_USAGE when zfs would not take it. */
int zfs_dataset_name(const StorageSite *site, char **out_dataset, Error **err);
/* Is it, or is it to be, of ember's making? */
bool zfs_pool_is_own(const StorageSite *site);

/* Is it imported? 1 yes, 0 no, -1 zfs cannot tell. */
int zfs_pool_is_there(const char *pool, Error **err);
/* What zfs calls the part of the pool that is on the file or device; NULL: it is not there. Owned. */
int zfs_pool_find_vdev(const char *pool, const char *path, char **out_vdev, Error **err);

/* What is on the locked file or device: 1 the pool of that site, 0 nothing, -1 something else. */
int zfs_pool_recognise(const StorageSite *site, const Backing *backing, Error **err);
int zfs_pool_create(const StorageSite *site, const Backing *backing, Error **err);
/* Import a pool of ember's own unless it is. ERR_NOT_FOUND without its file or device. */
int zfs_pool_bring_in(const StorageSite *site, Error **err);

/* "only root can ..." */
int zfs_require_root(const char *what, Error **err);
