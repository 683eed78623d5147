/*
 * Commands about the store: what their options fill, and what runs them.
 */
#pragma once

#include "cli/cmd.h"

extern const Cmd storage_commands[];
extern const Cmd debug_commands[];

typedef struct StorageGrowArgs {
	uint64_t size_bytes;
} StorageGrowArgs;

int cmd_storage_usage(App *app, const Args *args, Error **err);
int cmd_storage_grow(App *app, const Args *args, Error **err);
int cmd_storage_optimize(App *app, const Args *args, Error **err);
int cmd_storage_trim(App *app, const Args *args, Error **err);
int cmd_debug_storage_efficiency(App *app, const Args *args, Error **err);
