/*
 * Making records and world agree again, one name at a time.
 */
#pragma once

#include "model/vm.h"
#include "ops/context.h"

/* Bring one VM's record in line with its process. The caller holds its operation lock; *vm is updated. A process that
 * is gone makes it `stopped` (`created` when it never ran); a start that never finished is undone. */
int reconcile_vm(Context *ctx, Vm *vm, Error **err);
