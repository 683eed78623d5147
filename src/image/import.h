/*
 * The whole way from opened sources to a finished image.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "image/events.h"
#include "image/source.h"
#include "util/error.h"

typedef struct ImportPlan {
	const Source *source;
	int output_fd; /* an empty file, open for reading and writing; borrowed */
	int guest_fd;  /* the guest program, or -1 */
	bool seed;     /* add ember's own files */
	uint64_t max_bytes;
	char **bad_blob; /* gets the digest of a layer's blob whose content is not what it says */
	const DeflateLibrary *deflate; /* what gzip is read with; NULL: the fastest there is */
} ImportPlan;

#define IMPORT_STREAM_FACTOR 4u /* all layers together may stream this many times max_bytes */

/* Progress goes out as events; the result is the caller's to announce. */
int import_run(const ImportPlan *plan, ImportResult *out_result, Error **err);
