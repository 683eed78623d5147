/*
 * The keeper's one loop: poll(2) over sources, and timers.
 *
 * Sources and timers are embedded in their owners and only borrowed here; what runs inside a
 * callback may add and remove any of them, itself included. Owners that want to destroy themselves
 * mark themselves and do it in `after`, which runs when no callback does.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/deadline.h"
#include "util/error.h"

typedef struct Source {
	int fd;
	short events; /* 0: only errors and hang-ups are told */
	void (*ready)(void *arg, short revents);
	void *arg;
} Source;

typedef struct Timer {
	Deadline at; /* of an added timer; it is removed before it fires */
	void (*fired)(void *arg);
	void *arg;
} Timer;

typedef struct Loop {
	Source **sources; /* NULL: removed during this round */
	size_t source_count;
	struct pollfd *polls;
	Timer **timers;
	size_t timer_count;
	void (*after)(void *arg); /* at the end of every round */
	void *after_arg;
	bool is_over;
} Loop;

void loop_add(Loop *loop, Source *source);
void loop_remove(Loop *loop, const Source *source); /* not there: fine */
/* Set or move a timer. */
void loop_set_timer(Loop *loop, Timer *timer, Deadline at);
void loop_drop_timer(Loop *loop, const Timer *timer); /* not there: fine */

/* Until `is_over`. */
int loop_run(Loop *loop, Error **err);
void loop_release(Loop *loop);
