/*
 * Storage: volumes that are cloned in no time.
 *
 * A volume is one virtual disk. Its name is a UUID given by the caller (the id of the VM or image
 * it belongs to), so a crash can never leave something that nobody recorded. Every destroy is
 * idempotent. All sizes are bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"
#include "util/str.h"

/* Where an installation keeps its volumes; made from config.json. Borrowed strings. */
typedef struct StorageSite {
	const char *state_dir;
	const char *store_dir; /* STATE/store: holds the volumes, or is the mount point of a managed
				  store */
	const char *path;      /* a managed store's file or device; NULL: the back end's default */
	uint64_t size_bytes;   /* of a managed store's file, for init */
	const char *instance_id;
} StorageSite;

typedef struct StoragePool StoragePool; /* an open store; each back end has its own */

typedef struct StorageCapacity {
	uint64_t total_bytes;
	uint64_t free_bytes;
} StorageCapacity;

typedef struct StorageBackend {
	const char *name;    /* as typed in --storage and stored in config.json */
	const char *summary; /* one line for `init` and `doctor` */
	bool needs_root;
	bool has_own_store; /* a file or device of its own: `path` and `size_bytes` of the site mean something */

	/* Can this host use it for that site? 1 yes, 0 no; *out_reason says why either way, in
	 * words for the user ("the state directory's filesystem clones files"). Tried, not guessed;
	 * leaves nothing behind. */
	int (*probe)(const StorageSite *site, char **out_reason, Error **err);

	/* Make the store. Idempotent: an existing store of ours is adopted (*out_adopted). */
	int (*init)(const StorageSite *site, bool *out_adopted, Error **err);

	/* Make it usable (mount on demand) and open it. */
	int (*open)(const StorageSite *site, StoragePool **out_pool, Error **err);
	void (*close)(StoragePool *pool);

	/* Let go of it: unmount, detach. With `purge` the store is deleted too (devices are never
	 * wiped). */
	int (*deinit)(const StorageSite *site, bool purge, Error **err);

	/* A path to which the caller may write a new raw image: the volume's file does not exist
	 * yet. Only after commit is it a volume; destroy(volume) cleans up either way. Owned
	 * string. */
	int (*import_path)(StoragePool *pool, const char *volume, char **out_path, Error **err);
	/* The file at import_path is complete: make it durable and sealed (nobody may write to it).
	 */
	int (*import_commit)(StoragePool *pool, const char *volume, Error **err);

	/* Make `to` a writable copy-on-write copy of `from`, grown to `size_bytes` when that is
	 * larger (0: same size), and durable. `to` must not exist: ERR_EXISTS. Interrupted
	 * anywhere, destroy(to) cleans up. */
	int (*clone)(StoragePool *pool, const char *from, const char *to, uint64_t size_bytes,
		     Error **err);

	/* From now on nobody may write to it: VMs are made from it. Durable. */
	int (*seal)(StoragePool *pool, const char *volume, Error **err);

	/* Remove it and everything made for it. Succeeds if it is not there. */
	int (*destroy)(StoragePool *pool, const char *volume, Error **err);

	/* Grow only; ERR_USAGE for a shrink. */
	int (*resize)(StoragePool *pool, const char *volume, uint64_t size_bytes, Error **err);

	/* Every volume of this store, recorded or not: reconcile depends on it. */
	int (*list)(StoragePool *pool, Strv *out_volumes, Error **err);

	/* What a hypervisor opens. Does not check that it exists. Owned string. */
	char *(*path)(const StorageSite *site, const char *volume);
	int (*size)(StoragePool *pool, const char *volume, uint64_t *out_bytes, Error **err);
	int (*capacity)(StoragePool *pool, StorageCapacity *out_capacity, Error **err);

	/* Is the store there right now without opening it? 1 yes, 0 no (then *out_reason says what
	 * to do), for doctor. */
	int (*check)(const StorageSite *site, char **out_reason, Error **err);
} StorageBackend;
