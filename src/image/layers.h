/*
 * One layer, streamed once: its blob through the decompressor and libarchive, file data straight to the disk, and a list
 * of what it holds for merge.h.
 */
#pragma once

#include <stdint.h>

#include "image/blob.h"
#include "image/disk.h"
#include "image/merge.h"
#include "util/error.h"
#include "util/str.h"

#define LAYERS_MAX	       512u
#define LAYERS_MAX_ENTRIES     8000000u	   /* streamed, of all layers together */
#define LAYERS_MAX_XATTR_BYTES (64u << 20) /* of all layers together */
#define XATTR_MAX_BYTES	       (64u << 10) /* of one file: names and values */

/* What all layers of an image share. */
typedef struct LayerContext {
	Disk *disk;
	BlobMeter meter;
	uint64_t max_bytes;   /* of a file */
	uint64_t entries;     /* streamed so far */
	uint64_t xattr_bytes; /* streamed so far */
	Strv dropped_xattrs;  /* names that were left out, each once, LAYERS_MAX_DROPPED at most */
	void (*on_warning)(const char *message);
} LayerContext;

#define LAYERS_MAX_DROPPED 16u

/* Read the blob into `layer`, a direct layer's in part into its tree already. *out_diff_id is the caller's. On failure
 * the layer may hold a part: release it. */
int layer_stream(LayerContext *context, const BlobSpec *spec, Layer *layer, char **out_diff_id,
		 Error **err);
