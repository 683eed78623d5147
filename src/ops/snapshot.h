/*
 * Snapshots of VMs' disks.
 *
 * A snapshot is a sealed clone of the VM's volume, and a record in the VM's directory. It is made in tmp/vm:VM:ID8/ with a
 * record that names its volume; the rename into vms/VM/snapshots/ is the commit. Deleting one begins with the rename to
 * trash/. All of it happens under the VM's operation lock.
 */
#pragma once

#include "model/snapshot.h"
#include "ops/context.h"

/* What taking it cost. */
typedef struct SnapshotCost {
	uint64_t
		still_us; /* how long the guest could not write, or did not run; 0: it did not run anyway */
	uint64_t clone_us; /* of these, what the storage took */
} SnapshotCost;

/*
 * Take one, in any state but `starting`. While a running VM's disk is cloned its filesystems are frozen by the agent in it;
 * where there is none, or it cannot, the VM stands still for that moment, and what is on the disk is what a power cut leaves.
 */
int ops_snapshot_create(Context *ctx, const char *vm_name, const char *name, Snapshot *out_snapshot,
			SnapshotCost *out_cost, Error **err);

/* The disk of a VM that does not run becomes what it was then, its size too. What it was before is gone. */
int ops_snapshot_restore(Context *ctx, const char *vm_name, const char *name, Error **err);

/* Other snapshots, and VMs that were forked from it, are not touched. */
int ops_snapshot_delete(Context *ctx, const char *vm_name, const char *name, Error **err);

/* Sorted by name; one that cannot be read has only its name (id NULL). */
int ops_snapshot_list(Context *ctx, const char *vm_name, SnapshotList *out_list, Error **err);
