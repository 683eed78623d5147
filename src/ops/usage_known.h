/*
 * What the records say about the volumes of the store: what each belongs to.
 */
#pragma once

#include "model/image.h"
#include "model/snapshot.h"
#include "model/vm.h"
#include "ops/context.h"

/* Volumes of what is in no list: what is being made lies in tmp/, what is being removed in trash/. */
typedef struct Pending {
	Strv volumes;
	Strv owners; /* of each volume, "vm web" */
} Pending;

typedef struct Known {
	VmList vms;
	SnapshotList *snapshots; /* of each VM */
	ImageList images;
	Pending pending;
} Known;

void known_release(Known *known);
#define auto_known CLEANUP(known_release)

/* Everything, in the order in which things go: from tmp/ into a list and on to trash/. What moves meanwhile is seen, unless
 * it is renamed. */
int known_read(Context *ctx, Known *out_known, Error **err);

/* The snapshots of each VM of the list, in its order; those of a broken VM are not known. Owned, each to be released. */
int known_read_snapshots(Context *ctx, const VmList *vms, SnapshotList **out_snapshots,
			 Error **err);
void known_release_snapshots(SnapshotList *snapshots, size_t count);

/* VMs that have snapshots are counted with them. */
typedef struct Groups {
	Strv *items; /* the VM's volume first, then its snapshots'; in the order of the first */
	size_t count;
} Groups;

void groups_release(Groups *groups);
#define auto_groups CLEANUP(groups_release)

void groups_make(const VmList *vms, const SnapshotList *snapshots, Groups *out_groups);
/* Which group the VM with that volume has; SIZE_MAX: none. */
size_t groups_find(const Groups *groups, const char *volume);
