/*
 * ZFS: each volume is a zvol, DATASET/ID, and what is copied from it is a clone of one of its
 * snapshots.
 *
 *	tank/ember-3f2a			the dataset of installation 3f2a, marked by ember:installation
 *	tank/ember-3f2a/ID		a volume
 *	tank/ember-3f2a/ID@base		it is sealed: its copies are clones of this snapshot
 *	tank/ember-3f2a/ID@OTHER	what OTHER was cloned from while ID was (and is) written to
 *	tank/ember-3f2a/gone.GUID	a volume that was destroyed and still has clones
 *
 * A dot is in no volume's name, so hidden volumes and volumes never meet. A volume that is neither
 * a clone nor sealed is an import that was cut off. Everything that zfs(8) does is on the disk when
 * it returns.
 */
#pragma once

#include "backend/storage.h"
#include "storage/zfs_command.h"

#define ZFS_SEALED_AS  "base"
#define ZFS_HIDDEN_AS  "gone."
#define ZFS_BLOCK_SIZE 16384

struct StoragePool {
	char *pool;
	char *dataset;
	char *store_dir; /* for imports under way */
	char *host_file; /* the file that the pool lives in; NULL: none that we know of */
};

/* What there is to know about one zvol below the pool's dataset. */
typedef struct ZfsVolume {
	uint64_t size_bytes;
	uint64_t written_bytes; /* since its newest snapshot */
	char *guid;
	char *origin; /* "tank/ember-3f2a/ID@base"; NULL: it is no clone */
	char *newest; /* the name of its newest snapshot; NULL: none */
	bool is_sealed;
	bool has_clones;
} ZfsVolume;

void zfs_volume_release(ZfsVolume *volume);
#define auto_zfs_volume CLEANUP(zfs_volume_release)

/* `name` is that of a volume or of a hidden one. 1 there is one, 0 not. `has_clones` and `written_bytes` are filled in
 * only when asked for: they cost zfs more. */
int zfs_look(const StoragePool *pool, const char *name, bool with_clones, ZfsVolume *out,
	     Error **err);
/* Is it whole, that is, no import that was cut off? */
bool zfs_is_whole(const ZfsVolume *volume);

/* The volume and what only it needed: the snapshot that it was cloned from, and hidden volumes without clones. Hides it
 * instead while it has clones. Missing is success, also in part. */
int zfs_destroy_family(const StoragePool *pool, const char *volume, Error **err);

/* Collect what an interrupted clone or destroy of that volume may have left, and hidden volumes that nobody needs. */
int zfs_sweep(const StoragePool *pool, const char *volume, Error **err);

int zfs_usage(StoragePool *pool, const Strv *groups, size_t group_count, StorageUsage *out_usage,
	      Error **err);

/* StorageBackend's functions about volumes (zfs_volume.c). */
int zfs_import_path(StoragePool *pool, const char *volume, char **out_path, Error **err);
int zfs_import_commit(StoragePool *pool, const char *volume, Error **err);
int zfs_clone(StoragePool *pool, const char *from, const char *to, uint64_t size_bytes,
	      const StorageLive *live, Error **err);
int zfs_seal(StoragePool *pool, const char *volume, Error **err);
int zfs_destroy(StoragePool *pool, const char *volume, Error **err);
int zfs_resize(StoragePool *pool, const char *volume, uint64_t size_bytes, bool is_live,
	       Error **err);
int zfs_attach(StoragePool *pool, const char *volume, StorageDisk *out_disk, Error **err);
int zfs_list(StoragePool *pool, Strv *out_volumes, Error **err);
int zfs_size(StoragePool *pool, const char *volume, uint64_t *out_bytes, Error **err);
