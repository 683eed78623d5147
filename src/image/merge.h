/*
 * Layers applied to the tree, bottom-up: whiteouts, opaque directories, changes of type, hard links across layers,
 * parents resolved through symlinks inside the root.
 *
 * A layer is listed first and applied as a whole, because its whiteouts come before its own entries whatever their
 * order in the tar, and act on the layers below only. Where the OCI image-spec is silent we do what containerd and
 * umoci agree on; what would leave the root, or depend on what is not there, is refused.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "image/inode.h"
#include "image/tree.h"
#include "util/error.h"
#include "util/str.h"

typedef enum EntryKind {
	ENTRY_FILE,	/* any type of file but a hard link */
	ENTRY_LINK,	/* hard link */
	ENTRY_WHITEOUT, /* `path` of the layers below is gone */
	ENTRY_OPAQUE,	/* everything below in directory `path` is gone */
} EntryKind;

typedef struct LayerEntry {
	EntryKind kind;
	char *path;   /* cleaned by name.h */
	char *target; /* ENTRY_LINK: cleaned path of the file to link to */
	Inode *inode; /* ENTRY_FILE */
} LayerEntry;

typedef struct Layer {
	LayerEntry *entries;
	size_t count;
	size_t capacity;
	uint16_t number; /* 1 is the lowest */
	Tree *direct; /* nothing lies below: markers hide nothing, and entries may be merged while they come */
	uint64_t path_bytes; /* in `entries` */
	Strv marker_dirs; /* where markers stand, equal neighbours once; of a direct layer what is no directory yet */
	size_t settled;	       /* of marker_dirs: those that a batch has looked at */
	uint64_t marker_bytes; /* in `marker_dirs` */
} Layer;

#define LAYER_BATCH 1024u /* entries of a direct layer, and markers, that are merged together */
/* What a layer may make us remember until it is applied. */
#define LAYER_MAX_PATH_BYTES   (512ull << 20)
#define LAYER_MAX_MARKER_BYTES (32ull << 20) /* of the lowest layer, where markers hide nothing */

/* Append an entry, or of a direct layer's marker only its place; the strings and the inode are consumed. */
void layer_add(Layer *layer, EntryKind kind, char *path_take, char *target_take, Inode *inode_take);
/* After each entry: merge the batch of a direct layer when it is large enough. ERR_UNSUPPORTED when the layer is too large to
 * be remembered. */
int layer_go_on(Layer *layer, Error **err);
void layer_release(Layer *layer);
#define auto_layer CLEANUP(layer_release)

/* Apply the layer, or what is left of a direct one, and empty it. On failure the tree is whole but half-way: throw it away. */
int merge_layer(Tree *tree, Layer *layer, Error **err);
