/*
 * The two ways of `image build`, behind one contract: the built-in Debian from packages, and a Containerfile.
 */
#pragma once

#include "ops/image.h"
#include "ops/image_engine.h"

/* What is to be made, understood and checked before anything is touched. */
typedef struct BuildPlan {
	const BuildOptions *options;
	char *reference; /* what the record says that the image was made from */

	/* Of a Containerfile: */
	const ImageEngine *engine; /* NULL: the built-in image */
	char *file;		   /* absolute, like the context */
	char *context;
} BuildPlan;

void build_plan_release(BuildPlan *plan);

/* Understand the options; ERR_USAGE, ERR_NOT_FOUND, ERR_MISSING_TOOL. */
int image_debian_plan(const BuildOptions *options, BuildPlan *plan, Error **err);
int image_containerfile_plan(const BuildOptions *options, BuildPlan *plan, Error **err);

/* Fill the image's volume; `dir` is its working directory, and no file of ours is left there. */
int image_debian_make(Context *ctx, const BuildPlan *plan, Image *image, const char *dir,
		      Error **err);
int image_containerfile_make(Context *ctx, const BuildPlan *plan, Image *image, const char *dir,
			     Error **err);

/* Remove what an engine that was killed left in its own store for the image `id` being made in `dir`. What cannot be
 * removed is a warning: the engine may be gone. */
void image_containerfile_sweep(Context *ctx, const char *dir, const char *id);
