/*
 * A snapshot: the disk of a VM as it was at one moment, under a name. Data only.
 */
#pragma once

#include "model/vm.h"

/* What a boot from it finds. */
typedef enum Consistency {
	CONSISTENT_CRASH,      /* what a disk holds after a power cut: a journal is replayed */
	CONSISTENT_FILESYSTEM, /* filesystems at rest */
} Consistency;

typedef struct Snapshot {
	char *name;  /* unique among those of its VM */
	char *id;    /* UUID; also the name of its volume */
	char *vm_id; /* UUID of the VM that it is of */
	char *created_at;
	uint64_t disk_size_mib;
	VmState vm_state; /* what the VM was doing */
	Consistency consistency;
} Snapshot;

const char *consistency_name(Consistency consistency);
bool consistency_parse(const char *text, Consistency *out_consistency);

void snapshot_release(Snapshot *snapshot);
#define auto_snapshot CLEANUP(snapshot_release)

typedef struct SnapshotList {
	Snapshot *items;
	size_t count;
} SnapshotList;

void snapshot_list_push_take(SnapshotList *list, Snapshot *snapshot); /* leaves *snapshot empty */
void snapshot_list_release(SnapshotList *list);
#define auto_snapshot_list CLEANUP(snapshot_list_release)

/* A name given by the user, as those of VMs; "base" is reserved. ERR_USAGE. */
int snapshot_name_check(const char *name, Error **err);

/* Between the name of a VM and that of a snapshot of it. */
#define SNAPSHOT_SEPARATOR '@'

/* The parts of "VM" or "VM@SNAP", checked; *out_snapshot is NULL when there is none. Owned. */
int snapshot_split(const char *text, char **out_vm, char **out_snapshot, Error **err);
