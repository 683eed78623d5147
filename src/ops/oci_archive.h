/*
 * OCI images as files: the blobs of one manifest, in a directory of blobs or as an archive.
 *
 * Format: the image layout of the OCI image specification 1.0 (image-layout.md); an archive is a tar of one. Blobs are
 * DIR/sha256/HEX.
 */
#pragma once

#include <stdint.h>

#include "ops/image_manifest.h"
#include "util/error.h"
#include "util/fs.h"

/* All that an image consists of. */
typedef struct OciBlobs {
	ManifestBlob *items; /* the manifest first */
	size_t count;
	char *media_type; /* of the manifest */
	uint64_t total_bytes;
} OciBlobs;

/* 1: all of it is in that directory, 0: something is missing (or `digest` is NULL), -1: what is there is no manifest. */
int oci_blobs_find(const char *dir, const char *digest, OciBlobs *out_blobs, Error **err);
void oci_blobs_release(OciBlobs *blobs);
#define auto_oci_blobs CLEANUP(oci_blobs_release)

/* Make DIR/oci-layout and DIR/index.json, which names the image `name`; its blobs are elsewhere. */
int oci_layout_write(const char *dir, const OciBlobs *blobs, const char *name, Error **err);

/* The whole image on to `fd`, which may be a pipe. The same image and name give the same bytes. */
int oci_archive_write(int fd, const char *blobs_dir, const OciBlobs *blobs, const char *name,
		      FsProgress progress, void *arg, Error **err);
