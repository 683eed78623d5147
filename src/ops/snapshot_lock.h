/*
 * Shared by the operations on snapshots.
 */
#pragma once

#include "model/vm.h"
#include "ops/context.h"

/* Begin a change to the snapshots of a VM: its record, settled, and its lock. The record is read once before the lock file
 * is made, so that a mistyped name leaves none behind. */
int snapshot_lock_vm(Context *ctx, const char *name, Vm *out_vm, int *out_lock, Error **err);
