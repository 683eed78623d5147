/*
 * Making and unmaking a VM: the one path that create, fork, delete, rollback and reconcile share.
 *
 * A VM being made is tmp/vm:NAME/ with a record that says which volume belongs to it; the rename to vms/NAME is the
 * commit. A VM being removed is renamed to trash/vm:NAME:ID8/ first, which is its commit, and taken apart there. So what
 * a crash leaves in tmp/ or trash/ is always something to destroy, and its record says how.
 *
 * The caller holds the operation lock of the name.
 */
#pragma once

#include "model/vm.h"
#include "ops/context.h"

/* ERR_EXISTS when there is such a VM. Also removes what a crash left of an earlier attempt. */
int vm_build_check_free(Context *ctx, const char *name, Error **err);

/* Make the VM that *vm describes (its id is new) from a volume. The state becomes `created`. Undone on failure. */
int vm_build(Context *ctx, Vm *vm, const char *from_volume, Error **err);

/* Remove a VM that does not run. `vm` may be broken: then only its directory is known. */
int vm_destroy(Context *ctx, const Vm *vm, Error **err);
