/*
 * Images: from a reference, a layout or a build to a sealed volume.
 */
#pragma once

#include "model/image.h"
#include "model/vm.h"
#include "ops/context.h"

typedef struct PullOptions {
	const char *name;      /* local name; NULL: from the reference */
	const char *record_as; /* the reference that the record gets; NULL: the one given */
	const char *shown;     /* what messages call it; NULL: the reference */
	const char *platform;  /* os/arch; NULL: this host's */
	const char *creds;     /* user:password for skopeo; NULL: its own auth files */
	bool plain_http;       /* --tls-verify=false */
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
/* VMs go on referring to it, by its id. ERR_EXISTS when `new_name` is taken. */
int ops_image_rename(Context *ctx, const char *name, const char *new_name, Image *out_image,
		     Error **err);

/* The VMs and forks that were made from it, by name. */
int image_users(Context *ctx, const Image *image, Strv *out_users, Error **err);
/* The image that a VM was made from, by its id: it may have been renamed, and another one may have its name. False: it is
 * gone. */
bool image_find_origin(Context *ctx, const Vm *vm, Image *out_origin);
/* Remove it, whoever uses it; the caller holds its operation lock. `id`: NULL when the record cannot be read. */
int image_delete_locked(Context *ctx, const char *name, const char *id, Error **err);

/* What a prune removed, or would remove. */
typedef struct PruneReport {
	Strv images;
	uint64_t
		image_bytes; /* what they had to themselves; STORAGE_UNKNOWN: the store cannot tell */
	uint64_t blobs;
	uint64_t blob_bytes;
} PruneReport;

/* Of images and blobs. */
uint64_t prune_bytes(const PruneReport *report);
void prune_report_release(PruneReport *report);
#define auto_prune_report CLEANUP(prune_report_release)

/* Remove the blob cache, and unless `only_blobs` the images that no VM was made from. ERR_BUSY while a pull or push uses the
 * cache; an image that somebody is just using is kept. */
int ops_image_prune(Context *ctx, bool only_blobs, bool dry_run, PruneReport *out_report,
		    Error **err);
