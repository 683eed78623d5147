/*
 * Files in an OCI layout: what is being written has a temporary name in blobs/sha256 and gets its digest's name when it
 * is whole; the index is last, so that a layout is never seen with an image that is not all there.
 */
#pragma once

#include <stdint.h>

#include "image/source.h"
#include "util/compiler.h"
#include "util/error.h"

typedef enum LayoutPart { LAYOUT_LAYER, LAYOUT_CONFIG, LAYOUT_MANIFEST, LAYOUT_PARTS } LayoutPart;

typedef struct LayoutWriter {
	char *dir;
	char *blobs;		       /* DIR/blobs/sha256 */
	int fds[LAYOUT_PARTS];	       /* for writing; -1: none */
	char *temporary[LAYOUT_PARTS]; /* paths; NULL: none (any more) */
} LayoutWriter;

/* What the finished parts are called, and what the index says about the manifest. */
typedef struct LayoutEntry {
	const char *digests[LAYOUT_PARTS]; /* sha256 */
	uint64_t manifest_size;
	const char *tag; /* NULL: none */
	const Platform *platform;
} LayoutEntry;

/* Make the directories that are missing, and an empty file for each part. */
int layout_writer_open(LayoutWriter *writer, const char *dir, Error **err);
/* Give the parts their names, and put the image into the index, in place of one with the same tag. */
int layout_writer_commit(LayoutWriter *writer, const LayoutEntry *entry, Error **err);
/* Removes what has not been committed. */
void layout_writer_release(LayoutWriter *writer);
#define auto_layout_writer CLEANUP(layout_writer_release)
