/*
 * Images: from a reference, a layout or a build to a sealed volume.
 */
#pragma once

#include "model/image.h"
#include "ops/context.h"

typedef struct PullOptions {
	const char *name;     /* local name; NULL: from the reference */
	const char *platform; /* os/arch; NULL: this host's */
	const char *creds;    /* user:password for skopeo; NULL: its own auth files */
	bool plain_http;      /* --tls-verify=false */
	bool refresh; /* replace an image of that name when the reference moved; else it is left alone */
	uint64_t timeout_s; /* give up on a registry that says nothing for so long; 0: a minute */
} PullOptions;

/* `reference`: what source_parse() takes. *out_existed: it was here already (with `refresh`: it has not moved), nothing was
 * done. */
int ops_image_pull(Context *ctx, const char *reference, const PullOptions *options,
		   Image *out_image, bool *out_existed, Error **err);

/* With `file` or `context` the image is built from a Containerfile, else it is the built-in Debian: the options of one are
 * refused with the other. NULL or zero means "not given". */
typedef struct BuildOptions {
	bool replace; /* an image of that name; else it is left alone */

	/* The built-in image. */
	const char *variant;
	const char *suite;
	const char *mirror;
	const Strv *packages; /* beside those of the variant */

	/* A Containerfile. */
	const char *file;	/* NULL: Containerfile or Dockerfile of the context */
	const char *context;	/* NULL: the working directory */
	const Strv *build_args; /* KEY=VALUE, or KEY: the value in our environment */
	const char *target;
	const char *platform; /* os/arch */
	const char *engine;   /* buildah, podman or docker; NULL: the first that is installed */
	bool no_cache;
} BuildOptions;

/* *out_existed: it was here already, as asked for, and nothing was done. ERR_EXISTS for an image of that name that was
 * made in another way. */
int ops_image_build(Context *ctx, const char *name, const BuildOptions *options, Image *out_image,
		    bool *out_existed, Error **err);

int ops_image_list(Context *ctx, ImageList *out_list, Error **err);
/* By local name, full reference or docker's short form. ERR_NOT_FOUND names `ember image pull`. */
int ops_image_find(Context *ctx, const char *text, Image *out_image, Error **err);
/* Refused with ERR_BUSY while VMs were made from it, which it lists. */
int ops_image_delete(Context *ctx, const char *name, Error **err);
