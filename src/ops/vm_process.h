/*
 * The processes of a VM, as operations see them: its keeper and its hypervisor.
 */
#pragma once

#include "agent/client.h"
#include "agent/keeper.h"
#include "model/vm.h"
#include "ops/context.h"

/* Start the VM of vms/NAME/launch.json. On failure nothing of it runs. */
int vm_process_start(Context *ctx, const char *name, KeeperIds *out_ids, Error **err);

/* A connection to the keeper of a running VM. When the keeper was killed, a new one adopts the VM first. */
int vm_process_connect(Context *ctx, const Vm *vm, Client **out_client, Error **err);

/* End whatever runs of this VM, recorded or found by name, by force, and wait until it is gone. Idempotent. Needs only the
 * name and the id. */
int vm_process_kill(Context *ctx, const Vm *vm, Error **err);

/* In the plan of a VM that does not run, the name and place that it has now. */
int vm_process_rename(Context *ctx, const Vm *vm, Error **err);

/* Give the keeper a moment to write its report and leave, so that it is not in the way of what comes next. */
void vm_process_wait_keeper(const Vm *vm);
