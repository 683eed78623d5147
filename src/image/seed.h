/*
 * What every root disk gets beside its image's files: ember's guest program, the document that says how to run the image,
 * name resolution, and the places to mount on. Put into the tree as one more layer on top, so that it obeys the same rules
 * as every other; what the image provides itself is left alone.
 */
#pragma once

#include <stdbool.h>

#include "image/disk.h"
#include "image/tree.h"
#include "util/error.h"

typedef struct SeedOptions {
	int guest_fd;		  /* the static guest program; -1: none */
	const char *run_document; /* the text of image.json */
	uint16_t layer_number;	  /* above all others */
} SeedOptions;

int seed_tree(Tree *tree, Disk *disk, const SeedOptions *options, Error **err);

/* Is there a program that can be the system's first? */
bool seed_has_init(Tree *tree);
