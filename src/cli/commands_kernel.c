/*
 * The part of THE table that is about kernels.
 */
#include "cli/commands_kernel.h"

const Cmd kernel_commands[] = {
	{ "list", .alias = "ls", .max_args = 0, .flags = CMD_STATE, .run = cmd_kernel_list,
	  .help = "List kernels", .examples = "ember kernel list" },
	{ 0 },
};
