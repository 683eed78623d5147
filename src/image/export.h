/*
 * A filesystem to a tar: every name of it, depth first and each directory by the bytes of its names, so that the same
 * tree gives the same tar wherever its blocks lie.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "image/extfs.h"
#include "image/packer.h"
#include "util/error.h"

#define EXPORT_MAX_NAMES 2000000u /* as many as an image may have */
#define EXPORT_MAX_PATH	 4096u
#define EXPORT_MAX_DEPTH 1024u

typedef struct ExportPlan {
	Extfs *fs; /* borrowed, as the next */
	Packer *packer;
	bool keep_seed; /* ember's own files too */
	bool is_layer;	/* names that mean something in a layer (".wh.x") stay out */
	void (*on_progress)(uint64_t bytes,
			    uint64_t total);	 /* total is an estimate; NULL: nobody listens */
	void (*on_warning)(const char *message); /* NULL: the same */
} ExportPlan;

/* Does not finish the packer. What could not be kept is warned of, each kind once. */
int export_tree(const ExportPlan *plan, uint64_t *out_entries, Error **err);
