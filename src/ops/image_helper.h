/*
 * Running ember-image: its JSON lines become progress, warnings, and one result or error.
 */
#pragma once

#include "ops/context.h"
#include "util/json.h"
#include "util/process.h"

/* Begin its command line. ERR_MISSING_TOOL when the installation is incomplete. */
int image_helper_init(Command *cmd, Error **err);

/* Begin the command line of another program, which reads a stranger's bytes from its standard input and is given no rights
 * but that one and to fill what is handed over as descriptor 3. ERR_MISSING_TOOL when it is not installed. */
int image_confined_init(Command *cmd, const char *program, Error **err);

/* Run it to the end; *out_result is its answer, a new reference. `total_bytes`: what its progress is measured by when it
 * does not know itself; 0: unknown. *out_bad_blob (may be NULL): after a failure the digest of the blob whose content is at
 * fault, else left alone; owned. */
int image_helper_run(Context *ctx, const Command *cmd, uint64_t total_bytes, json_t **out_result,
		     char **out_bad_blob, Error **err);

/* One of two that work at a time: this one runs beside us and writes its lines into a new file. */
int image_helper_spawn(Command *cmd, const char *log, pid_t *out_pid, Error **err);
/* Wait for it and read its verdict from that file. With `stop_it`, because what it works for has failed: was it the cause?
 * It has a moment to say so and is ended then; -1 only if it was. The pipe between the two must still be open. */
int image_helper_finish(Context *ctx, pid_t pid, const char *log, bool stop_it, Error **err);
