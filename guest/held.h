/*
 * Frames that wait while the filesystems are frozen: those of requests whose services write to them. Handling one would
 * stop the agent in the middle, and then nobody would hear that it is time to thaw.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "agent/wire.h"

typedef struct HeldFrame HeldFrame;

typedef struct Held {
	HeldFrame *first, **last;
	size_t bytes;
} Held;

/* With that much the agent would have to read no more, and then it would not hear that it is time to thaw: it ends the freeze
 * itself. */
#define HELD_MAX ((size_t)4 << 20)

/* A copy of it; false when memory ran out. */
bool held_push(Held *held, const WireFrame *frame);
/* Is there one of that stream? */
bool held_has(const Held *held, uint32_t stream);
/* The oldest one, to be released with free(); NULL: none. *out_frame points into it. */
HeldFrame *held_pop(Held *held, WireFrame *out_frame);
void held_clear(Held *held);
