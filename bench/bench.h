/*
 * What the measuring programs share: a clock, and samples that end as one line of JSON. Times are
 * nanoseconds.
 */
#pragma once

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct Samples {
	uint64_t *items;
	size_t count;
	size_t room;
} Samples;

static inline uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static inline void samples_add(Samples *samples, uint64_t value)
{
	if (samples->count == samples->room) {
		samples->room = samples->room ? samples->room * 2 : 64;
		samples->items = realloc(samples->items, samples->room * sizeof(*samples->items));
		if (!samples->items)
			abort();
	}
	samples->items[samples->count++] = value;
}

static inline int compare_samples(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

/* `name_ns` of the median, the best and the 90th percentile. */
static inline void samples_print(const char *name, Samples *samples, const char *end)
{
	qsort(samples->items, samples->count, sizeof(*samples->items), compare_samples);
	printf("\"%s\":{\"median_ns\":%" PRIu64 ",\"best_ns\":%" PRIu64 ",\"p90_ns\":%" PRIu64
	       ",\"runs\":%zu}%s",
	       name, samples->items[samples->count / 2], samples->items[0],
	       samples->items[samples->count * 9 / 10], samples->count, end);
	free(samples->items);
	*samples = (Samples){ 0 };
}
