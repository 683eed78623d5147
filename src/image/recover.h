/*
 * A filesystem that nobody unmounted: its journal is replayed, and what is wrong is repaired, by e2fsck, which is kept
 * from everything but that file (confine.h).
 */
#pragma once

#include "image/root_disk.h"
#include "util/error.h"

/* The disk has been found; `path` is opened again, for writing. 0, or -1 with an Error, or the exit status when the
 * error has been announced already. */
int recover(const char *path, const RootDisk *disk, Error **err);
