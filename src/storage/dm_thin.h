/*
 * The rooms of the dm-thin store, among themselves.
 *
 * A file or device holds a label (dm_thin_label.h) and the two areas of a thin pool. While the store is in use there are
 * these devices, INST being the installation's id:
 *
 *   ember-INST-meta, ember-INST-data   linear: the areas, put together from their segments
 *   ember-INST-pool                    thin-pool: over the two
 *   ember-INST-VOLUME                  thin: a volume that is attached
 *
 * All of them are gone after a reboot, and made again when they are needed. The kernel's documentation is
 * admin-guide/device-mapper/thin-provisioning.rst.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "backend/storage.h"
#include "storage/backing.h"
#include "storage/dm_thin_label.h"
#include "storage/dm_thin_record.h"
#include "util/process.h"

#define THIN_METADATA_BLOCK_BYTES 4096ULL
/* Nothing new is begun below this much room: the guests that run may need it. The kernel marks it (low water mark). */
#define THIN_RESERVE_BYTES (64ULL << 20)

struct StoragePool {
	char *dir;	/* STATE/store: the records */
	char *instance; /* "ab12" */
	char *backing;	/* the file or device */
	bool in_file;
	char *pool;   /* "ember-ab12-pool" */
	char *number; /* the pool's device, for the tables of volumes */
};

/* ---- dm_thin_pool.c: the pool as a whole ---- */

/* "ember-ab12-meta". Owned. */
char *thin_device_name(const char *instance, const char *what);

/* Is the pool of that backing active? 1 yes, 0 no. ERR_BUSY: another store has the name. */
int thin_pool_is_active(const StorageSite *site, Error **err);
/* Make the pool's devices, and check the metadata before; of a label that is new, make the metadata. The caller holds the
 * backing's lock. */
int thin_pool_activate(const StorageSite *site, const Backing *backing, Error **err);
/* Remove all devices of the installation's. ERR_BUSY while a volume is open. */
int thin_pool_deactivate(const StorageSite *site, Error **err);
/* Does anybody use a volume right now? */
int thin_pool_is_open(const StorageSite *site, Error **err);
/* Bring the devices of an active pool to what the label says now. */
int thin_pool_extend(const StorageSite *site, const Backing *backing, const ThinLabel *label,
		     Error **err);

typedef struct ThinStatus {
	uint64_t metadata_used_blocks; /* of THIN_METADATA_BLOCK_BYTES */
	uint64_t metadata_blocks;
	uint64_t data_used_blocks; /* of THIN_BLOCK_BYTES */
	uint64_t data_blocks;
	bool is_writable; /* else it has turned read-only, or failed */
	bool is_full;
	bool has_snapshot; /* of its metadata */
} ThinStatus;

/* "TRANSACTION USED/TOTAL USED/TOTAL ROOT MODE ...", as the kernel says it; false: it is something else. */
bool thin_status_parse(const char *text, ThinStatus *out_status);
int thin_pool_status(const StoragePool *pool, ThinStatus *out_status, Error **err);
/* Can something new be begun that takes so many bytes at once? */
int thin_pool_check_room(const StoragePool *pool, uint64_t bytes, Error **err);

/* A program of thin-provisioning-tools: ERR_MISSING_TOOL names the package. */
int thin_tool(Command *cmd, const char *program, Error **err);

/* One command at a time changes what the pool holds. */
int thin_pool_lock(const StoragePool *pool, int *out_lock, Error **err);

/* ---- dm_thin_map.c: which volumes the pool has ---- */

typedef struct ThinMapping {
	uint32_t id;
	uint64_t mapped_blocks;
	uint64_t exclusive_blocks;
} ThinMapping;

typedef struct ThinMap {
	ThinMapping *items;
	size_t count;
} ThinMap;

void thin_map_release(ThinMap *map);
#define auto_thin_map CLEANUP(thin_map_release)

/* What thin_ls prints, "DEV MAPPED EXCLUSIVE" a line; false: something else. */
bool thin_map_parse(const char *text, ThinMap *out_map);
/* Of an active pool, through a snapshot of its metadata that is released on every path. The caller holds the lock. */
int thin_map_read(const StoragePool *pool, bool with_blocks, ThinMap *out_map, Error **err);

/* ---- dm_thin_volume.c: StorageBackend, volume by volume ---- */

int thin_import_path(StoragePool *pool, const char *volume, char **out_path, Error **err);
int thin_import_commit(StoragePool *pool, const char *volume, Error **err);
int thin_clone(StoragePool *pool, const char *from, const char *to, uint64_t size_bytes,
	       const StorageLive *live, Error **err);
int thin_seal(StoragePool *pool, const char *volume, Error **err);
int thin_destroy(StoragePool *pool, const char *volume, Error **err);
int thin_resize(StoragePool *pool, const char *volume, uint64_t size_bytes, bool is_live,
		Error **err);
int thin_attach(StoragePool *pool, const char *volume, StorageDisk *out_disk, Error **err);
int thin_detach(StoragePool *pool, const char *volume, Error **err);
int thin_list(StoragePool *pool, Strv *out_volumes, Error **err);
char *thin_path(const StorageSite *site, const char *volume);
int thin_size(StoragePool *pool, const char *volume, uint64_t *out_bytes, Error **err);

/* ---- dm_thin_usage.c ---- */

int thin_capacity(StoragePool *pool, StorageCapacity *out_capacity, Error **err);
int thin_usage(StoragePool *pool, const Strv *groups, size_t group_count, StorageUsage *out_usage,
	       Error **err);
