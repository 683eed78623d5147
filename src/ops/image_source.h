/*
 * What a reference means: where an image is fetched from, and what it would be called.
 */
#pragma once

#include <stdbool.h>

#include "util/error.h"

typedef struct Source {
	char *layout; /* DIR[:TAG] when it is a layout already, which is read in place; else NULL */
	char *layout_dir; /* the same in two parts */
	char *layout_tag; /* NULL: none was given */
	char *transport;  /* what skopeo reads otherwise */
	char *reference;  /* for the record, and for messages */
	char *name;	  /* local name it would get */
	char *host;	  /* the registry; NULL for what is a local file */
	char *repository; /* HOST/REPOSITORY of a registry's image, without tag or digest; else NULL */
} Source;

void source_release(Source *source);
#define auto_source CLEANUP(source_release)

/* oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REFERENCE], or a registry's reference. An archive is named
 * after the reference in it, where there is one. ERR_USAGE, or ERR_NOT_FOUND for a path that is not there. */
int source_parse(const char *reference, Source *out_source, Error **err);
/* Does it begin like a path, or with a word that skopeo has for what is in no registry? */
bool source_is_file(const char *reference);

/* "linux/ARCH[/VARIANT]"? NULL is fine, and means this host's. */
int source_check_platform(const char *platform, Error **err);
/* The same in skopeo's words, for this host when NULL; owned. */
char *source_platform(const char *platform);
/* What the record says: our names for the machines that we know, else what was asked for; owned. */
char *source_machine(const char *platform);
