/*
 * What a managed store lives in: a sparse file, or a device the user gave. Opened and locked, so
 * that no two commands format, attach or delete it at the same time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "backend/storage.h"
#include "storage/superblock.h"
#include "util/error.h"

#define BACKING_MIN_BYTES     (512ULL << 20)
#define BACKING_DEFAULT_BYTES (64ULL << 30)

typedef struct Backing {
	char *path;
	int fd; /* holds the lock */
	bool is_device;
	uint64_t size_bytes;
} Backing;

void backing_release(Backing *backing);
#define auto_backing CLEANUP(backing_release)
#define BACKING_NONE                   \
	(Backing)                      \
	{                              \
		.path = NULL, .fd = -1 \
	}

/* The site's path, or STATE/store.img. Owned. */
char *backing_path(const StorageSite *site);
/* Open and lock what is there: 1, 0 there is nothing, -1. */
int backing_open(const StorageSite *site, Backing *out_backing, Error **err);
/* The error about a file or device that is no room for a store. */
int backing_too_small(const Backing *backing, Error **err);
/* Make an empty sparse file under a temporary name, of which only backing_commit makes the store.
 */
int backing_create(const StorageSite *site, Backing *out_backing, Error **err);
int backing_commit(const StorageSite *site, Backing *backing, Error **err);
/* Refuse it, ERR_EXISTS: the hint is another place for a file, for a device how it is emptied. */
int backing_not_empty(const Backing *backing, const Superblock *found, Error **err);
/* An error as the reason of a probe: "'...' is not empty: it has ext4 (name another place...)". Owned. */
char *backing_reason(const Error *err);
/* Remove what an interrupted backing_create left. Missing is success. */
int backing_remove_temporary(const StorageSite *site, Error **err);
