/*
 * Making records and world agree again, one name at a time.
 */
#pragma once

#include "model/vm.h"
#include "ops/context.h"

/* Bring one VM's record in line with its process, and with its disk when it does not run. The caller holds its operation lock; *vm is updated. A process that
 * is gone makes it `stopped` (`created` when it never ran); a start that never finished is undone. */
int reconcile_vm(Context *ctx, Vm *vm, Error **err);

/* Take down what the record says of the VM's network. Idempotent. */
int vm_detach_network(const Vm *vm, Error **err);

/* How every change begins: hold the installation against a deinit, load the config, and remove what crashed commands left in tmp/ and trash/ (two empty
 * directories, as a rule). What cannot be removed is a warning. */
int change_begin(Context *ctx, Error **err);

/* How a change ends after the rename that is its commit: the directory it is in is flushed. The change has happened, so a failure is a
 * warning, and nothing is undone. False: a power cut may still undo it, so what it replaced or hid must not be destroyed now;
 * leftover_destroy() of a later command does that, which flushes first. */
bool change_end(const Context *ctx, const char *dir);

/* ops_reconcile() by one who has locked out everybody: ("store", "use") is held exclusively. */
int reconcile_alone(Context *ctx, Error **err);
