/*
 * A filesystem that nobody unmounted: its journal is replayed, and what is wrong is repaired, by e2fsck, which is kept
 * from everything but that file (confine.h).
 */
#pragma once

#include "image/root_disk.h"
#include "util/error.h"

/* Find the filesystem on an open disk, and repair it where it needs that; `path` is opened again then, for writing. 0, or
 * -1 with an Error, or the exit status when the error has been announced already. */
int recover_where_needed(const char *path, RootDisk *disk, Error **err);
