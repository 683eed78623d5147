/*
 * Commands about kernels: what their options fill, and what runs them.
 */
#pragma once

#include "cli/cmd.h"

extern const Cmd kernel_commands[];

int cmd_kernel_list(App *app, const Args *args, Error **err);
