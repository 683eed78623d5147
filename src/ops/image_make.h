/*
 * From a source of layers to a sealed image volume: the path that pull and build share.
 *
 * An image being made is tmp/image:NAME/ with its record; the rename to images/NAME is the commit. The caller holds the
 * operation lock of the name.
 */
#pragma once

#include "model/image.h"
#include "ops/context.h"
#include "util/process.h"

typedef struct ImageSource {
	const char *layout;	/* OCI layout DIR[:TAG]; NULL: `tar` */
	const char *blobs;	/* a directory of blobs that layouts share; NULL: in the layout */
	const char *platform;	/* os/arch; NULL: this host's */
	int tar_fd;		/* a root filesystem as a tar stream when there is no layout */
	const char *config;	/* a file with the OCI config that goes with the tar; NULL: none */
	const char *run_config; /* or one with an image.json; NULL: none */
	char **out_bad_blob; /* may be NULL; gets the digest of a blob that is damaged, owned by the caller */
	uint64_t total_bytes; /* how much is about to come through a pipe; 0: unknown */
} ImageSource;

/* The working directory of the image, made with its intent recorded; owned. Leftovers of a crash are removed first. */
int image_begin(Context *ctx, const Image *image, char **out_dir, Error **err);
/* Write the volume with ember-image and seal it; fills what the maker found out (size, digest, config, has_init). */
int image_write(Context *ctx, Image *image, const ImageSource *source, Error **err);
/* Make it visible; with `replace` an image of that name gives way to it, in one step. */
int image_commit(Context *ctx, const Image *image, const char *tmp, bool replace, Error **err);
/* After a failure: remove everything again. Never fails: what remains is for reconcile, with a warning. */
void image_undo(Context *ctx, const char *name);
