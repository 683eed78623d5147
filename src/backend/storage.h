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
#include "util/fs.h"
#include "util/str.h"

/* Volume names come from records, and a record may be damaged: one that could leave the store is refused, ERR_FAILED. */
int storage_check_name(const char *volume, Error **err);

/* The store that was made at `path` is not there: ERR_NOT_FOUND. */
int storage_missing(const char *path, Error **err);

/* Where an installation keeps its volumes; made from config.json. Borrowed strings. */
typedef struct StorageSite {
	const char *state_dir;
	const char *store_dir; /* STATE/store: holds the volumes, or is the mount point of a managed
				  store */
	const char *path;    /* the file or device that a store of our own lives in; NULL: the back
				  end's default */
	const char *pool;    /* zfs: the pool's name; NULL: the back end's default */
	const char *dataset; /* zfs: below which everything is made; NULL: the back end's default */
	uint64_t size_bytes; /* of the file, for init; 0: the back end's default */
	const char *instance_id;
} StorageSite;

typedef struct StoragePool StoragePool; /* an open store; each back end has its own */

typedef struct StorageCapacity {
	uint64_t total_bytes;
	uint64_t free_bytes;
} StorageCapacity;

/* How a hypervisor opens a volume. */
typedef enum DiskFormat { DISK_RAW, DISK_QCOW2 } DiskFormat;

typedef struct StorageDisk {
	char *path;
	DiskFormat format;
	bool is_device; /* a block device, else a file */
} StorageDisk;

void storage_disk_release(StorageDisk *disk);
#define auto_storage_disk CLEANUP(storage_disk_release)

/* A hypervisor that has the source of a clone open and goes on writing to it. */
typedef struct StorageLive {
	void *arg;
	/* From its return on the guest's writes go to `overlay`, whose backing file is what it had
	 * open until now. Only back ends whose copies are made of layers call it. */
	int (*switch_to)(void *arg, const StorageDisk *overlay, Error **err);
} StorageLive;

/* For a figure that cannot be known here: shown as "-", null in JSON. */
#define STORAGE_UNKNOWN UINT64_MAX

/* exclusive <= referenced <= provisioned + the back end's metadata, always. */
typedef struct VolumeUsage {
	char *volume;
	uint64_t provisioned_bytes; /* what the guest sees */
	uint64_t referenced_bytes;  /* what it reaches in the store, shared or not */
	uint64_t exclusive_bytes;   /* of these, what no other volume reaches */
	uint64_t logical_bytes;	    /* `referenced` before compression; the same without */
} VolumeUsage;

typedef struct StorageUsage {
	VolumeUsage *items; /* every volume of the store, by name */
	size_t count;
	/* Of each group that was asked for, all its volumes taken as one, without `volume` and
	 * `provisioned_bytes`: what they share with each other only is exclusive, and nothing counts twice.
	 * NULL: this back end cannot tell. */
	VolumeUsage *groups;
	/* The pool; each may be STORAGE_UNKNOWN. */
	uint64_t capacity_bytes;
	uint64_t allocated_bytes;   /* physical, each shared byte once */
	uint64_t reserved_bytes;    /* promised to volumes and not used yet */
	uint64_t logical_bytes;	    /* `allocated` before compression */
	uint64_t addressable_bytes; /* sum of what the guests see */
	uint64_t metadata_bytes;
} StorageUsage;

void storage_usage_release(StorageUsage *usage);
#define auto_storage_usage CLEANUP(storage_usage_release)

/* What the store takes from its host, around a trim. */
typedef struct StorageTrim {
	uint64_t before_bytes;
	uint64_t after_bytes;
} StorageTrim;

typedef struct StorageBackend {
	const char *name;    /* as typed in --storage and stored in config.json */
	const char *summary; /* one line for `init` and `doctor` */
	bool needs_root;
	bool has_own_store; /* a file or device of its own: `path` and `size_bytes` of the site mean something */
	const char *const *programs; /* that it runs, NULL-terminated; NULL: none */
	bool has_pool;		     /* `pool` and `dataset` of the site mean something */

	/* Can this host use it for that site? 1 yes, 0 no; *out_reason says why either way, in
	 * words for the user ("the state directory's filesystem clones files"). Tried, not guessed;
	 * leaves nothing behind. */
	int (*probe)(const StorageSite *site, char **out_reason, Error **err);

	/* Does what lies at the site's path already speak against a store there (something else's, a
	 * directory)? The error says so; probe, which says no then, has it as a reason only. NULL: there
	 * is no such place, or probe fails by itself for one that the user named. */
	int (*check_place)(const StorageSite *site, Error **err);

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
	 * anywhere, destroy(to) cleans up, and `from` is what it was. `live` is the hypervisor that
	 * has `from` open; NULL: none has. The copy is what a disk holds after a power cut at one
	 * instant of the call. */
	int (*clone)(StoragePool *pool, const char *from, const char *to, uint64_t size_bytes,
		     const StorageLive *live, Error **err);

	/* From now on nobody may write to it: VMs are made from it. Durable. */
	int (*seal)(StoragePool *pool, const char *volume, Error **err);

	/* Remove it and everything made for it. Succeeds if it is not there. What was cloned from
	 * it stays whole: where clones have real parents, the parent is hidden and collected with
	 * its last clone. */
	int (*destroy)(StoragePool *pool, const char *volume, Error **err);

	/* Grow only; ERR_USAGE for a shrink. `is_live`: a hypervisor has it open and is told of the
	 * new size next. */
	int (*resize)(StoragePool *pool, const char *volume, uint64_t size_bytes, bool is_live,
		      Error **err);

	/* Make it openable at out_disk->path (activate, wait for its device node), until detach or
	 * the host's reboot. Both idempotent. ERR_NOT_FOUND. `detach` is NULL where there is nothing to let go of. */
	int (*attach)(StoragePool *pool, const char *volume, StorageDisk *out_disk, Error **err);
	int (*detach)(StoragePool *pool, const char *volume, Error **err);

	/* Every volume of this store, recorded or not: reconcile depends on it. */
	int (*list)(StoragePool *pool, Strv *out_volumes, Error **err);

	/* Where attach will make it openable, for the record. Looks at nothing. Owned string. */
	char *(*path)(const StorageSite *site, const char *volume);
	int (*size)(StoragePool *pool, const char *volume, uint64_t *out_bytes, Error **err);
	int (*capacity)(StoragePool *pool, StorageCapacity *out_capacity, Error **err);
	/* Who owns which bytes, of all volumes in one sweep, and of groups of them; a volume is in one group
	 * at most, and one that is not there counts for nothing. NULL: this back end cannot tell. */
	int (*usage)(StoragePool *pool, const Strv *groups, size_t group_count,
		     StorageUsage *out_usage, Error **err);

	/* Make the store itself larger, to `size_bytes` in all. NULL: it has no size of its own. */
	int (*grow)(const StorageSite *site, uint64_t size_bytes, Error **err);
	/* Give space that no volume uses back to the host. NULL: there is never any. */
	int (*trim)(StoragePool *pool, StorageTrim *out_trim, Error **err);
	/* Rearrange a volume that nobody has open so that it is fast again; what it holds stays.
	 * May take long, may be interrupted. `begun` (may be NULL) is called when from then on others
	 * may use the volume: attach() ends the work. *out_done: there was something to do, and it
	 * is done. NULL: never. */
	int (*optimize)(StoragePool *pool, const char *volume, void (*begun)(void *arg), void *arg,
			bool *out_done, Error **err);

	/*
	 * Where attach() names a file in a format (DISK_QCOW2), its content for others than hypervisors, as
	 * long as nobody writes to it. NULL: what attach() names is the content. See storage_read().
	 */
	/* Zeroes beyond the disk's end. */
	int (*read)(StoragePool *pool, const char *volume, uint64_t offset, void *data, size_t len,
		    Error **err);
	/* All of it into an empty file; holes stay holes. `progress` may be NULL. Ctrl-C:
	 * ERR_CANCELED. */
	int (*copy_out)(StoragePool *pool, const char *volume, int fd, FsProgress progress,
			void *arg, Error **err);
	/* It becomes what is in that file, whose size it has; only what differs takes space. */
	int (*copy_in)(StoragePool *pool, const char *volume, int fd, Error **err);

	/* Is the store there right now without opening it? 1 yes, 0 no (then *out_reason says what
	 * to do), for doctor. */
	int (*check)(const StorageSite *site, char **out_reason, Error **err);
} StorageBackend;

/* What is at `offset` of a volume that nobody writes to; zeroes beyond its end. */
int storage_read(const StorageBackend *storage, StoragePool *pool, const char *volume,
		 uint64_t offset, void *data, size_t len, Error **err);
