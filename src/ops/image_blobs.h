/*
 * The blob cache, STATE/blobs/sha256/HEX: every layer, config and manifest that was fetched, once, whichever images share it.
 *
 * skopeo fills and reads it (--dest-shared-blob-dir, --src-shared-blob-dir), ember-image reads it (--blobs), and what lay in
 * a layout is put there too. It is only a cache: what is missing or damaged is fetched again. Whoever uses it holds the lock of image_blobs_hold(); a prune takes it
 * away from all of them.
 */
#pragma once

#include "ops/context.h"
#include "ops/image_manifest.h"

/* STATE/blobs, owned; it need not exist. */
char *image_blobs_dir(const Context *ctx);
/* Make it if it is not there, and keep prunes away until the fd is closed. */
int image_blobs_hold(Context *ctx, int *out_lock, Error **err);

/* The manifest, when it is here and can be read: 1, else 0. */
int image_blobs_manifest(const Context *ctx, const char *digest, Manifest *out_manifest);
/* How many bytes of these blobs are not here. */
uint64_t image_blobs_missing(const Context *ctx, const Manifest *manifest);
/* Remove one blob; missing is success. */
int image_blobs_discard(const Context *ctx, const char *digest, Error **err);
/* Remove those of the manifest that have another size than it says, as after a power cut. 1: there were some, 0, or -1. */
int image_blobs_discard_cut(const Context *ctx, const Manifest *manifest, Error **err);

/* Bring the blobs of an image from a layout DIR that ember-image has read whole, so that it can leave as it came. They are
 * moved out of a layout of our own; with `scratch`, a directory for a moment's copies in the same filesystem as the cache,
 * the layout stays as it is. What lies there in another way than by sha256 is not brought, and no error. Whoever hands blobs
 * on looks at their digests, since the layout's owner may have changed it meanwhile. */
int image_blobs_take(Context *ctx, const char *layout, const char *digest, const char *scratch,
		     Error **err);

/* How much there is. */
int image_blobs_usage(const Context *ctx, uint64_t *out_count, uint64_t *out_bytes, Error **err);
/* Remove all; the caller holds the lock "blobs" of "store" alone. */
int image_blobs_clear(const Context *ctx, Error **err);
