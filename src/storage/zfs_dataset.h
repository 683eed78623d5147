/*
 * The dataset that an installation's volumes are below. A property, ember:installation, marks whose it is, and what has not
 * our mark is never destroyed.
 */
#pragma once

#include "backend/storage.h"

/* Make it in its pool, or take one that is there and empty. *out_adopted: it has been ours before. */
int zfs_dataset_make(const StorageSite *site, bool *out_adopted, Error **err);
/* It must be there and ours; a pool of ember's own is imported if need be. */
int zfs_dataset_find(const StorageSite *site, const char *dataset, Error **err);
/* Destroy what is ours: all volumes, and the dataset itself unless the administrator had made it. Missing is success. */
int zfs_dataset_purge(const StorageSite *site, Error **err);
