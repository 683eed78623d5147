/*
 * Resizes that were cut off. The record says that one was under way (disk_resize_mib); the volume says how far it came.
 */
#pragma once

#include "model/vm.h"
#include "ops/context.h"

/* Put the size that its disk really has into *vm; nothing is written. */
int vm_look_at_disk(Context *ctx, Vm *vm, Error **err);

/* The same for good: a VM that runs is told of it, and the record says it. Nothing to do without a resize under way. The
 * caller holds the operation lock. */
int vm_settle_disk(Context *ctx, Vm *vm, Error **err);
