/*
 * Disks that others made, as images: ember-image reads the ext4 on them and writes a new one, so that an image is compact,
 * has what ember adds, and nothing else of the disk comes near a kernel.
 */
#pragma once

#include "ops/image_move.h"

/* A raw copy of a qcow2, sparse. Refused when it speaks of other files of this host (ERR_USAGE), is encrypted, or needs what
 * we do not know. */
int qcow2_to_raw(Context *ctx, const char *path, const char *raw, Error **err);

/* Write the volume of `image` from a raw disk, which is left as it is. `dir` is for temporary files. */
int import_disk(Context *ctx, Image *image, const char *path, const char *dir,
		const ImportOptions *options, Error **err);
