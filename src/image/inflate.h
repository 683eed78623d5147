/*
 * One interface to the decompressors. Each is fed input as it comes, and says at which points the input may end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "image/blob.h"
#include "image/deflate.h"
#include "util/error.h"

typedef struct Inflater Inflater;

/* `deflate` is what gzip is read with. */
Inflater *inflater_new(Compression compression, const DeflateLibrary *deflate);
void inflater_free(Inflater *inflater);

/* Decompress from *data (moved on, with *size) into `out`; returns the bytes put there, -1 on error. 0 with input left
 * over means that more room changes nothing: call again only with more input. */
ssize_t inflater_run(Inflater *inflater, const unsigned char **data, size_t *size, void *out,
		     size_t room, Error **err);

/* May the input end here? */
bool inflater_at_end(const Inflater *inflater);
