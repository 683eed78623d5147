/*
 * Programs that build an image from a Containerfile: buildah, podman and docker, and how their command lines go.
 *
 * The image gets no name in the engine's own store, so there is none to clash or to be left behind; what stays there are
 * its layers, the cache of the next build. An engine of the buildah family that is ended at the wrong moment leaves its
 * working container too: each build carries a mark (a secret that no step uses, which the engine notes in the container's
 * record), so that ours can be told from the user's and be removed.
 */
#pragma once

#include "util/process.h"

typedef struct ImageEngine ImageEngine;

/* A build from a file, in absolute paths. */
typedef struct EngineBuild {
	const char *file;
	const char *context;
	const Strv *build_args; /* KEY=VALUE, or KEY: the value in our environment */
	const char *target;	/* the stage to stop at; NULL: the last one */
	const char *platform;	/* os/arch; NULL: this host's */
	bool no_cache;
} EngineBuild;

/* The engine of that name, or with NULL the first that is installed; ERR_MISSING_TOOL names the packages. */
const ImageEngine *image_engine_find(const char *name, Error **err);
const char *image_engine_name(const ImageEngine *engine);

/* Add the words that build. The engine runs in a directory of ours: it finds the file `image.json` there and writes the
 * image's id to `image-id`. */
void image_engine_add_build(const ImageEngine *engine, const EngineBuild *build, const char *mark,
			    Command *cmd);
/* The same command as a person would type it, without what is for us; owned. */
char *image_engine_text(const ImageEngine *engine, const EngineBuild *build);

/* Add the words that write the image `id` into the OCI layout `layout` of the directory that the engine runs in; false:
 * it can only write the archive `image.tar` there. */
bool image_engine_add_save(const ImageEngine *engine, const char *id, Command *cmd);

/* Remove the working containers with that mark; none is success. */
int image_engine_sweep(const ImageEngine *engine, const char *mark, Error **err);
