/*
 * Shared by the operations that talk to a guest.
 */
#pragma once

#include "agent/client.h"
#include "model/vm.h"
#include "ops/context.h"

/* The record of a VM that runs, and a connection to its keeper, by which its agent answers within `timeout_ms`.
 * ERR_STATE when it does not run. */
int guest_connect(Context *ctx, const char *name, int64_t timeout_ms, Vm *out_vm,
		  Client **out_client, Error **err);
