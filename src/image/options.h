/*
 * The words of ember-image's command line.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "image/source.h"
#include "util/error.h"
#include "util/str.h"

#define OPTIONS_DEFAULT_MAX_BYTES (64ull << 30)
#define OPTIONS_MIN_MAX_BYTES	  (16ull << 20)

typedef struct Options {
	char *layout;	  /* DIR; NULL: tars */
	char *tag;	  /* NULL: none given */
	char *blobs;	  /* NULL: the layout's own */
	Strv tars;	  /* "-" is standard input */
	char *config;	  /* an OCI config for tars, or NULL */
	char *run_config; /* an image.json for tars, or NULL */
	char *output;
	char *guest; /* NULL: none */
	bool no_seed;
	uint64_t max_bytes;
	Platform platform;
	const DeflateLibrary *deflate; /* NULL: the fastest there is */
	bool help;
	bool version;
} Options;

/* "DIR[:TAG]". A tag may hold colons, and so may a directory: the shortest directory that exists wins, else the first
 * colon. */
void options_split_layout(const char *text, char **out_dir, char **out_tag);

int options_parse(int argc, char *argv[], Options *out, Error **err);
extern const char options_help[];
void options_release(Options *options);
#define auto_options CLEANUP(options_release)
