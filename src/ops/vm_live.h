/*
 * The disk of a VM that runs, for cloning it meanwhile: who tells the hypervisor, where a back end wants it told.
 */
#pragma once

#include "agent/client.h"
#include "model/vm.h"
#include "ops/context.h"

typedef struct LiveDisk {
	Client *client;
	StorageLive live;
} LiveDisk;

/* The VM is running or paused, and its lock is held. ERR_UNSUPPORTED when its hypervisor cannot do what the storage needs. */
int live_disk_open(Context *ctx, const Vm *vm, LiveDisk *out_disk, Error **err);
void live_disk_release(LiveDisk *disk);
#define auto_live_disk CLEANUP(live_disk_release)
