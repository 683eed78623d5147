/*
 * Root disks as files: what state their filesystem is in, and how to bring it to rest.
 *
 * A VM whose plug was pulled leaves a journal behind. Its next boot replays it; what leaves ember is replayed first, so
 * that a reader without a journal sees what the guest last knew to be written.
 */
#pragma once

#include "model/vm.h"
#include "ops/context.h"

typedef enum DiskState {
	DISK_CLEAN,
	DISK_DIRTY,   /* an ext4 whose journal has to be replayed, or that is marked as damaged */
	DISK_FOREIGN, /* no ext4, whatever the guest made of it */
} DiskState;

int disk_look(Context *ctx, const char *volume, DiskState *out_state, Error **err);

/* Up to which size, in bytes, a guest can grow the ext4 on it: its descriptors have that much room. UINT64_MAX when that
 * cannot be told, of what is no such filesystem above all. */
uint64_t disk_growth_max(Context *ctx, const char *volume);
/*
 * Before it boots. A guest that was cut off while its filesystem grew may have written the superblock and not yet the
 * descriptors of the groups that it counts. They are in the journal, but Linux looks at them before it replays that, and
 * refuses to mount: here the journal is replayed. The caller holds the VM's lock.
 */
int disk_finish_growth(Context *ctx, const Vm *vm, Error **err);
/* What the guest could not use is refused, since a disk cannot shrink again: ERR_UNSUPPORTED when `size_mib` is beyond that. What
 * it has already, `have_mib`, is never refused. `command` is what the user typed, for the hint. */
int disk_check_growth(Context *ctx, const char *volume, uint64_t have_mib, uint64_t size_mib,
		      const char *command, Error **err);

/*
 * A volume as a plain file or device, for programs that know no format: what attach() names, or a copy in tmp/ for as long
 * as it is needed. `kind` is "vm" or "image", whose lock on `name` the caller holds.
 */
typedef struct PlainDisk {
	Context *ctx;
	char *path;
	char *work_dir; /* in tmp/; NULL: it is no copy */
} PlainDisk;

int plain_disk_open(Context *ctx, const char *kind, const char *name, const char *volume,
		    PlainDisk *out_disk, Error **err);
/* What was changed in a copy goes back into the volume, which must not be sealed. */
int plain_disk_save(PlainDisk *disk, const char *volume, Error **err);
/* Never fails: what remains is for reconcile, with a warning. */
void plain_disk_release(PlainDisk *disk);
#define auto_plain_disk CLEANUP(plain_disk_release)

/* What ember-image finds on a disk, which may be a stranger's. */
typedef struct DiskFacts {
	uint64_t offset; /* of the filesystem on it, in bytes */
	uint64_t used_bytes;
	bool needs_recovery;
	ImageConfig config; /* how it says that it wants to be run; empty: it says nothing */
} DiskFacts;

int disk_probe(Context *ctx, const char *path, DiskFacts *out_facts, Error **err);
void disk_facts_release(DiskFacts *facts);
#define auto_disk_facts CLEANUP(disk_facts_release)

/* Replay the journal of a disk that is ours to write, and repair what has to be. */
int disk_recover(Context *ctx, const char *path, Error **err);

/*
 * The disk of a VM that does not run, at rest and plain: its own where it is clean, else a copy-on-write clone that was
 * recovered, recorded in tmp/ for as long as it is needed. The caller holds the VM's lock, shared at least.
 */
typedef struct RestingDisk {
	Context *ctx;
	PlainDisk plain;
	char *work_dir; /* in tmp/; NULL: there is no clone */
	DiskState state;
} RestingDisk;

int resting_disk_open(Context *ctx, const Vm *vm, RestingDisk *out_disk, Error **err);
void resting_disk_release(RestingDisk *disk);
#define auto_resting_disk CLEANUP(resting_disk_release)
