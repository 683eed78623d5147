/*
 * vms/VM/snapshots/NAME/snapshot.json: the snapshots of a VM. They lie in its directory, so that they are renamed and
 * removed with it. One being made is tmp/vm:VM:ID8/snapshot.json, one being removed trash/vm:VM:ID8/snapshot.json.
 */
#pragma once

#include <jansson.h>

#include "model/snapshot.h"
#include "state/store.h"
#include "util/error.h"

json_t *snapshot_to_json(const Snapshot *snapshot); /* also what `snapshot list` shows */
int snapshot_from_json(const json_t *doc, Snapshot *out_snapshot, Error **err);

/* Paths, owned. */
char *snapshots_dir(const Store *store, const char *vm_name);
char *snapshot_dir(const Store *store, const char *vm_name, const char *name);

/* One of a VM's. ERR_NOT_FOUND with "did you mean" and how to list them; of one whose record cannot be read, or is of
 * another VM, ERR_FAILED and how to remove it. */
int snapshots_read(const Store *store, const Vm *vm, const char *name, Snapshot *out_snapshot,
		   Error **err);
/* All of a VM's, sorted by name; of an unreadable one only the name is known (id NULL). */
int snapshots_list(const Store *store, const Vm *vm, SnapshotList *out_list, Error **err);

/* Into a directory that nobody else reads yet: the first time, made durable as a file; and again. */
int snapshots_write_new_at(const char *dir, const Snapshot *snapshot, Error **err);
int snapshots_write_at(const char *dir, const Snapshot *snapshot, Error **err);

/* The volumes that a directory claims by a snapshot.json in it and, where it is that of the VM `vm_id`, by those of its
 * snapshots; added to the list. */
void snapshots_read_volumes_at(const char *dir, const char *vm_id, Strv *out_volumes);
