/*
 * An image, or a disk, as the blobs of an OCI image: those it was pulled with where they are still there, else new ones
 * made of its disk for as long as they are needed.
 */
#pragma once

#include "model/image.h"
#include "ops/context.h"
#include "ops/oci_archive.h"

typedef struct OciSource {
	Context *ctx;
	char *work_dir;	 /* in tmp/; for whatever its user needs as well. NULL: not made */
	char *blobs_dir; /* DIR of DIR/sha256/HEX */
	OciBlobs blobs;
	int cache_lock; /* nobody prunes the cache meanwhile; -1: not held */
} OciSource;
#define OCI_SOURCE_NONE ((OciSource){ .cache_lock = -1 })

/* `kind` is "image" or "vm", whose lock on image->name the caller holds, shared at least. Of `image` matter name, digest
 * (NULL: always made anew), config, arch, created_at, and id, whose volume it is, or else disk_path, a plain disk. */
int oci_source_open(Context *ctx, const char *kind, const Image *image, OciSource *out_source,
		    Error **err);
/* Never fails: what remains is for reconcile, with a warning. */
void oci_source_release(OciSource *source);
#define auto_oci_source CLEANUP(oci_source_release)
