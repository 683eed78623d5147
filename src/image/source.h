/*
 * Where the layers come from: an OCI layout on disk, or plain tars. Everything is opened here, once, so that nothing
 * needs a path any more when the layers are read.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "image/blob.h"
#include "image/oci.h"
#include "util/error.h"

typedef struct SourceLayer {
	int fd;
	Compression compression;
	uint64_t size; /* of the file in bytes, or BLOB_UNKNOWN_SIZE */
	char *name;    /* for messages: a digest or a file's name */
	char *digest;  /* NULL: a plain tar has none */
	char *diff_id; /* NULL: not known in advance */
} SourceLayer;

typedef struct Source {
	SourceLayer *layers; /* the lowest first */
	size_t count;
	uint64_t total_bytes; /* of all files; 0 when one is a pipe */
	char *digest;	      /* of the manifest; NULL for tars */
	char *reference;      /* the tag in the layout, or NULL */
	OciConfig config;
} Source;

/* What `uname` and OCI call the machine: "linux", "amd64". `variant` may be NULL. */
typedef struct Platform {
	char *os;
	char *architecture;
	char *variant;
	bool is_default; /* the host's, not asked for */
} Platform;

typedef struct LayoutOptions {
	int dir_fd;	  /* of the layout; borrowed, as the next */
	int blobs_fd;	  /* of a directory shared by layouts, or -1: the layout's own "blobs" */
	const char *name; /* of the layout, for messages */
	const char *tag;  /* NULL: the only one there is */
	const Platform *platform;
	char **bad_blob; /* gets the digest of a blob whose content is not what it says */
} LayoutOptions;

/* Follow index, manifest and config of an image in the layout, each checked against its digest and size, and open its
 * layers. ERR_NOT_FOUND without such a tag or platform, ERR_USAGE when a tag must be named, ERR_UNSUPPORTED for other
 * kinds of content. */
int source_open_layout(const LayoutOptions *options, Source *out, Error **err);

/* Take over `fd`, an open tar, as the next layer. */
int source_add_tar(Source *source, int fd_take, const char *name, Error **err);
/* The config that goes with tars: an OCI config document. As many diff_ids as layers, or none. */
int source_set_config(Source *source, const char *text, size_t length, Error **err);

/* "os/architecture[/variant]"; NULL gives the host's. */
int platform_parse(const char *text, Platform *out, Error **err);

void platform_release(Platform *platform);
void source_release(Source *source);
#define auto_platform CLEANUP(platform_release)
#define auto_source   CLEANUP(source_release)
