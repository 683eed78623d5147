/*
 * Starting the program of a Command: what command_spawn() and command_run() have in common.
 */
#pragma once

#include "util/process.h"

/* `own_group`: so that it can be ended together with the programs that it starts. -1 for out_fd and err_fd: /dev/null. */
int spawn_command(const Command *cmd, int out_fd, int err_fd, bool own_group, pid_t *out_pid,
		  Error **err);
