/*
 * Compressed files, unpacked by the programs that are made for it, which can reach nothing but that file and their output.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "util/error.h"

typedef struct Unpacker {
	const char *program;
	pid_t pid;
	int fd;	   /* what it unpacks comes out here */
	char *log; /* what it complained about */
} Unpacker;

/* Start `program -dc` on an open file, from where that stands. `dir` is for its log; NULL: without one. */
int unpacker_start(const char *program, int from_fd, const char *dir, Unpacker *out_unpacker,
		   Error **err);
/* Its verdict when it was read to its end. With `stop_it`, because what reads it has failed: was it the cause? It has a
 * moment to say so, and is ended then; -1 only if it was. */
int unpacker_finish(Unpacker *unpacker, bool stop_it, Error **err);
/* Without one: it is ended. */
void unpacker_release(Unpacker *unpacker);
#define auto_unpacker CLEANUP(unpacker_release)
