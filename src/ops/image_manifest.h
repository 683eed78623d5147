/*
 * Manifests and indexes of images, as far as fetching needs them: which blobs, how large, for which platform.
 *
 * OCI image-spec (manifest.md, image-index.md) and Docker's schema 2, whose documents have the same shape. They come from
 * strangers: a digest is made part of a path only after manifest_digest_hex() liked it. What an image means is
 * ember-image's to judge.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"
#include "util/json.h"
#include "util/str.h"

#define MANIFEST_BLOBS_MAX 600

typedef struct ManifestBlob {
	char *digest;
	uint64_t size_bytes;
} ManifestBlob;

typedef struct Manifest {
	ManifestBlob *blobs; /* the config, then the layers */
	size_t count;
} Manifest;

void manifest_release(Manifest *manifest);
#define auto_manifest CLEANUP(manifest_release)

/* ERR_FAILED when it is no manifest of one image. */
int manifest_from_json(const json_t *doc, Manifest *out_manifest, Error **err);
/* Does the document list manifests instead of layers? */
bool manifest_is_index(const json_t *doc);
/* The entry of an index for that platform ("os/arch[/variant]"), with that tag unless `tag` is NULL. The only entry fits
 * without a platform of its own. Its digest, owned; NULL when none fits or it is not sha256. */
char *manifest_pick(const json_t *index, const char *platform, const char *tag);
/* The 64 digits of "sha256:HEX", borrowed; NULL when it is anything else. */
const char *manifest_digest_hex(const char *digest);

/* Where a directory of blobs (DIR of DIR/sha256/HEX) has that one; owned. NULL when the digest is no sha256. */
char *manifest_blob_path(const char *blobs_dir, const char *digest);
/* Is it there, a regular file of the size that it should have? */
bool manifest_blob_is_here(const char *blobs_dir, const ManifestBlob *blob);
