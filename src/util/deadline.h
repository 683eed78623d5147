/*
 * Deadlines: a point on the monotonic clock that is handed down through calls, so that a chain of
 * waits never takes longer than the user asked for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds on CLOCK_MONOTONIC; DEADLINE_NEVER waits for ever. */
typedef struct Deadline {
	int64_t at_ns;
} Deadline;

#define DEADLINE_NEVER ((Deadline){ INT64_MAX })
#define DEADLINE_NOW   ((Deadline){ 0 })

int64_t clock_monotonic_ns(void);
Deadline deadline_in_ms(int64_t ms);
bool deadline_passed(Deadline until);
/* Milliseconds left, rounded up, in the form poll(2) takes: -1 for never, 0 when passed. */
int deadline_poll_ms(Deadline until);
/* The earlier of `until` and `ms` from now. */
Deadline deadline_sooner(Deadline until, int64_t ms);
