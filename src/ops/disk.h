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

int disk_look(const char *path, DiskState *out_state, Error **err);

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
 * The disk of a VM that does not run, at rest: its own where it is clean, else a copy-on-write clone that was recovered,
 * recorded in tmp/ for as long as it is needed. The caller holds the VM's lock, shared at least.
 */
typedef struct RestingDisk {
	Context *ctx;
	char *path;
	char *work_dir; /* in tmp/; NULL: there is no clone */
	DiskState state;
} RestingDisk;

int resting_disk_open(Context *ctx, const Vm *vm, RestingDisk *out_disk, Error **err);
/* Never fails: what remains is for reconcile, with a warning. */
void resting_disk_release(RestingDisk *disk);
#define auto_resting_disk CLEANUP(resting_disk_release)
