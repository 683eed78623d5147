/*
 * The words behind `ember-image export` and `ember-image probe`.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "image/blob.h"
#include "image/source.h"
#include "util/compiler.h"
#include "util/error.h"

typedef struct ExportOptions {
	char *disk;
	bool has_offset;
	uint64_t offset;
	int tar_fd;   /* -1: a layout */
	char *layout; /* DIR; NULL: a tar */
	char *tag;    /* NULL: none given */
	Compression compression;
	char *config; /* the document to use instead of the disk's; NULL: the disk's */
	Platform platform;
	char *created; /* RFC 3339 */
	bool keep_seed;
	bool recover;
	bool help;
} ExportOptions;

int export_options_parse(int argc, char *argv[], ExportOptions *out, Error **err);
/* Only --disk, --offset and --recover. */
int probe_options_parse(int argc, char *argv[], ExportOptions *out, Error **err);
extern const char export_options_help[];
extern const char probe_options_help[];
void export_options_release(ExportOptions *options);
#define auto_export_options CLEANUP(export_options_release)
