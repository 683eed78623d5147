/*
 * The documents of a new OCI image of one layer (OCI image-spec 1.1).
 */
#pragma once

#include <stdint.h>

#include "image/blob.h"
#include "image/source.h"
#include "model/image_config.h"

/* Strings are borrowed. */
typedef struct OciFacts {
	const Platform *platform;
	const char *created; /* RFC 3339 */
	const char *diff_id;
	const ImageConfig *run;
} OciFacts;

/* The texts of an image config and of a manifest; owned by the caller. */
char *oci_config_text(const OciFacts *facts);
char *oci_manifest_text(const char *config_digest, uint64_t config_size, const char *layer_digest,
			uint64_t layer_size, Compression compression);
