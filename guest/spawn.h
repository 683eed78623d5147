/*
 * Starting a program for exec: user, environment, directory, pipes.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "request.h"
#include "users.h"

/* What the child was about to do when it failed. */
typedef enum SpawnStage {
	SPAWN_SETUP,
	SPAWN_USER,
	SPAWN_CWD,
	SPAWN_EXEC,
} SpawnStage;

/* What the child says on its status pipe when it could not become the program. */
typedef struct SpawnFailure {
	SpawnStage stage;
	int errnum;
} SpawnFailure;

typedef struct Spawned {
	pid_t pid;	  /* also the process group */
	int in, out, err; /* our ends, non-blocking; `in` is -1 without stdin */
	int status;	  /* a SpawnFailure, or just the end when the program runs */
} Spawned;

/* Start it. 0, or -1 with errno: no processes, fds or memory. */
int spawn(const Request *request, const User *user, Spawned *out_child);
