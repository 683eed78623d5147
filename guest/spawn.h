/*
 * Starting a program: user, environment, directory; for exec, pipes.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "request.h"
#include "users.h"

typedef struct Spawned {
	pid_t pid;	  /* also the process group */
	int in, out, err; /* our ends, non-blocking; `in` is -1 without stdin */
} Spawned;

/* What went wrong, and with which errno. */
typedef enum SpawnStage {
	SPAWN_SETUP, /* no processes, fds or memory */
	SPAWN_USER,
	SPAWN_CWD,
	SPAWN_EXEC,
} SpawnStage;

typedef struct SpawnFailure {
	SpawnStage stage;
	int errnum;
} SpawnFailure;

/* Start it; returns when it is the program that it was to become: 0, or -1 with the failure. */
int spawn(Request *request, const User *user, Spawned *out_child, SpawnFailure *out_failure);
/* The same, on three fds of the caller's instead of new pipes. */
int spawn_on(Request *request, const User *user, const int fds[3], pid_t *out_pid,
	     SpawnFailure *out_failure);
