/*
 * Talking to a guest through its agent.
 */
#pragma once

#include <stdint.h>

#include "ops/context.h"
#include "util/str.h"

typedef struct ExecOptions {
	const char *user;    /* NULL: the VM's, else root */
	const char *workdir; /* NULL: the VM's, else / */
	const Strv *env;     /* on top of the VM's */
	const Strv *argv;
	bool connect_stdin;
	int64_t wait_ms; /* for the agent */
} ExecOptions;

/* Run it with our stdin, stdout and stderr. *out_status is what the command exited with: 0-255, 128+n for a signal. -1 with
 * *out_status set when the guest could not start it: 127 not found, 126 not executable (or unknown user, missing
 * workdir). -1 with *out_status as it was when ember itself failed. */
int ops_guest_exec(Context *ctx, const char *name, const ExecOptions *options, int *out_status,
		   Error **err);

/* One file in either direction; exactly one side is `vm:path`, the other a local path or "-". The
 * copy keeps the mode. A directory as destination takes the source's name. */
int ops_guest_copy(Context *ctx, const char *source, const char *destination, uint64_t *out_bytes,
		   Error **err);

/* Wait for the agent of a VM that is running. */
int ops_guest_wait_ready(Context *ctx, const Vm *vm, int64_t timeout_ms, Error **err);
