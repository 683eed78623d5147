/*
 * Progress on stderr: one line that says what is going on, drawn only on a terminal and only when
 * a step lasts longer than half a second.
 *
 * Steps without a size show their elapsed time, those with bytes a bar. A step that was shown stays
 * on the screen with the time it took; one that failed is erased, since the error says it better.
 * With `is_verbose` every finished step is a plain line, also without a terminal. A thread draws,
 * started with the first step, so that the operation need not think of it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/compiler.h"

typedef struct Progress Progress;

/* Draws on that terminal (or file, when `is_terminal` is false and `is_verbose` is true). */
Progress *progress_new(int fd, bool is_terminal, bool is_verbose) MUST_USE;
/* Every function accepts NULL: no progress is wanted. */
void progress_step(Progress *progress, const char *text); /* NULL: the last step is done */
/* Other words for the step under way. */
void progress_retitle(Progress *progress, const char *text);
void progress_bytes(Progress *progress, uint64_t done, uint64_t total);
/* The step under way failed: erase it. */
void progress_abandon(Progress *progress);
/* Erase the line and keep it away while something else is printed. */
void progress_pause(Progress *progress);
void progress_resume(Progress *progress);
/* Abandons the step under way. */
void progress_free(Progress *progress);

/* How fast bytes come, smoothed over some seconds. Zero is empty. */
typedef struct ProgressRate {
	int64_t at_ns; /* of the last look; 0: there was none */
	uint64_t done;
	double per_second;
} ProgressRate;

/* Look again: so many are done now. Fewer than before begin a new measurement. */
void progress_rate_look(ProgressRate *rate, int64_t now_ns, uint64_t done);

/* One line for a step, at most `width` columns; a long text gives way to the figures. `rate`: bytes a second, 0: not shown.
 * Owned. */
char *progress_line(const char *text, int64_t elapsed_ms, uint64_t done, uint64_t total,
		    uint64_t rate, unsigned width) MUST_USE;
