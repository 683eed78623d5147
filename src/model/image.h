/*
 * An image as ember records it: a sealed ext4 volume and what its maker said about running it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/image_config.h"
#include "util/str.h"

typedef struct Image {
	char *name;	     /* local name */
	char *former_name;   /* before its last rename; only a record has it, see rename_dir() */
	char *id;	     /* UUID; also the name of its volume */
	char *reference;     /* what it was made from: docker.io/library/debian:12, local:NAME */
	char *digest;	     /* of the manifest, or NULL */
	char *arch;	     /* x86_64, aarch64 */
	uint64_t size_bytes; /* of the volume */
	char *disk_path;
	char *created_at; /* when it was pulled or built here; RFC 3339 UTC */
	bool has_init;
	ImageConfig config;
} Image;

void image_release(Image *image);
#define auto_image CLEANUP(image_release)

typedef struct ImageList {
	Image *items;
	size_t count;
} ImageList;

void image_list_push_take(ImageList *list, Image *image); /* leaves *image empty */
void image_list_release(ImageList *list);
#define auto_image_list CLEANUP(image_list_release)

/*
 * References. docker's short forms are completed: "debian" is docker.io/library/debian:latest. A
 * digest replaces the tag. ERR_USAGE for what is not a reference.
 */
typedef struct ImageRef {
	char *host; /* docker.io, ghcr.io, 127.0.0.1:5000 */
	char *repository;
	char *tag;    /* NULL when a digest is given */
	char *digest; /* sha256:HEX, or NULL */
} ImageRef;

int image_ref_parse(const char *text, ImageRef *out_ref, Error **err);
char *image_ref_text(const ImageRef *ref);
/* The local name by the rules that ember-image(1) gives: library-alpine-latest, ghcr.io-a-b-1, a digest's
 * first 12 hex digits. */
char *image_ref_local_name(const ImageRef *ref);
void image_ref_release(ImageRef *ref);
#define auto_image_ref CLEANUP(image_ref_release)

/* Any text made into a valid local name: other bytes become '-', longer than 63 is cut with 8 hex
 * digits of a hash. */
char *image_name_from_text(const char *text);
