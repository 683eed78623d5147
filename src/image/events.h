/*
 * What ember-image tells its caller: one JSON object a line on standard output. Progress as it goes, and at the end one
 * result or one error. Untrusted bytes are made harmless here, whoever put them into a message.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

typedef struct ImportResult {
	uint64_t size_bytes; /* of the image file */
	char *digest;	     /* of the manifest; of plain tars, a digest over their diff_ids */
	char *reference;     /* NULL: none */
	json_t *config;	     /* the document image.json */
	bool has_init;
	uint64_t entries; /* names in the root filesystem */
} ImportResult;

typedef struct ProbeResult {
	uint64_t offset;     /* of the filesystem on the disk */
	uint64_t size_bytes; /* of the filesystem, as the next */
	uint64_t used_bytes;
	uint64_t entries; /* files, directories and the like */
	bool needs_recovery;
	json_t *config; /* the document image.json; NULL: none */
} ProbeResult;

typedef struct ExportResult {
	const char *digest;  /* of the manifest; of a tar, of what was written */
	const char *diff_id; /* of the tar */
	uint64_t size_bytes; /* of all blobs, or of what was written */
	uint64_t entries;
} ExportResult;

void event_progress(uint64_t bytes, uint64_t total);
void event_warning(const char *message);
void event_result(const ImportResult *result);
void event_probe(const ProbeResult *result);
void event_export(const ExportResult *result);
void event_verified(uint64_t size_bytes); /* of all blobs */
/* `bad_blob`: digest of the blob whose content is at fault, so that another copy may do; NULL: none. */
void event_error(const Error *error, const char *bad_blob);

/* Replace control characters and what is not UTF-8 by '?', in place; returns its argument. */
char *text_make_safe(char *text);

void import_result_release(ImportResult *result);
#define auto_result CLEANUP(import_result_release)
