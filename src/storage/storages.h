/*
 * The storage back ends of this directory, for backend/registry.c.
 */
#pragma once

#include "backend/storage.h"

extern const StorageBackend reflink_storage;
extern const StorageBackend btrfs_storage;
extern const StorageBackend xfs_storage;
extern const StorageBackend qcow2_storage;
extern const StorageBackend zfs_storage;
extern const StorageBackend dm_thin_storage;
