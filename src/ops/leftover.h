/*
 * What lies in tmp/ and trash/: things half made or half removed, each with the record that says which volume it has.
 */
#pragma once

#include "ops/context.h"

/* Take apart what a directory in tmp/ or trash/ describes: volume, sockets, where a kernel is compiled, the directory itself. Idempotent; missing is
 * success. A record that cannot be read was never followed by a volume, or its volume is found as an orphan. A volume that
 * the VM or image of that name claims is kept, and all is while what took its place cannot be flushed. The caller
 * holds the operation lock of the name. */
int leftover_destroy(Context *ctx, const char *dir, Error **err);
