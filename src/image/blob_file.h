/*
 * Files that a stranger put into a directory: regular ones or none, whatever stands in their place.
 */
#pragma once

#include <sys/stat.h>

#include "util/error.h"

/* Open `path` below the directory, to read. */
int regular_open(int dir_fd, const char *path, struct stat *out_st, int *out_fd, Error **err);
/* The same of the blob with that valid digest, in a directory of blobs: sha256/HEX. */
int blob_file_open(int blobs_fd, const char *digest, struct stat *out_st, int *out_fd, Error **err);
