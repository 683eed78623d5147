/*
 * The document image.json, read back from a disk or a file that nobody vouches for.
 */
#pragma once

#include <stddef.h>

#include "image/extfs.h"
#include "model/image_config.h"
#include "util/error.h"

#define RUN_DOCUMENT_PATH "usr/lib/ember/image.json"
#define RUN_DOCUMENT_MAX  (1u << 20)

int run_document_parse(const char *text, size_t length, ImageConfig *out, Error **err);
/* The one in a filesystem: 1 found, 0 there is none, -1 error. Costs nothing of the filesystem's blocks_left. */
int run_document_find(Extfs *fs, ImageConfig *out, Error **err);
