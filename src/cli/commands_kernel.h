/*
 * Commands about kernels: what their options fill, and what runs them.
 */
#pragma once

#include "cli/cmd.h"

extern const Cmd kernel_commands[];

/* Zero or NULL means "not given". */

typedef struct KernelBuildArgs {
	int64_t jobs;
	const char *config;
	const char *source;
	bool refresh;
	bool make_default;
	bool yes;
} KernelBuildArgs;

typedef struct KernelAddArgs {
	const char *initrd;
	bool make_default;
} KernelAddArgs;

int cmd_kernel_list(App *app, const Args *args, Error **err);
int cmd_kernel_build(App *app, const Args *args, Error **err);
int cmd_kernel_add(App *app, const Args *args, Error **err);
int cmd_kernel_delete(App *app, const Args *args, Error **err);
int cmd_kernel_default(App *app, const Args *args, Error **err);
