/*
 * Commands about snapshots: what runs them. None has options of its own.
 */
#pragma once

#include "cli/cmd.h"
#include "model/snapshot.h"

extern const Cmd snapshot_commands[];

/* What `snapshot list` and `vm inspect` tell of snapshots; a new reference. */
json_t *snapshot_list_json(const SnapshotList *list);

int cmd_snapshot_create(App *app, const Args *args, Error **err);
int cmd_snapshot_restore(App *app, const Args *args, Error **err);
int cmd_snapshot_list(App *app, const Args *args, Error **err);
int cmd_snapshot_delete(App *app, const Args *args, Error **err);
