/*
 * Mount points, precisely: is something mounted exactly here, and what kind of filesystem is it?
 */
#pragma once

#include <stdbool.h>

#include "util/error.h"

typedef enum MountState {
	MOUNT_NONE,
	MOUNT_OURS,
	MOUNT_FAILED, /* ours, but it has given up after an I/O error: read-only, or shut down */
	MOUNT_OTHER,
} MountState;

/* `magic` as in statfs(2). A missing directory has nothing mounted. */
int mount_state(const char *dir, long magic, MountState *out_state, Error **err);

/* 1 the kernel can mount that kind of filesystem and we may; 0 not (*out_reason). Tried with a
 * source that cannot be mounted, which makes the kernel load the filesystem's module. */
int mount_probe(const char *filesystem, char **out_reason);

/* Where else than on `dir` that device is mounted: 1 (*out_dir, owned), 0 nowhere, -1. */
int mount_find(const char *source, const char *dir, char **out_dir, Error **err);

/* Mount it private (nothing of it reaches other mount namespaces), without access times, devices
 * or set-uid programs. */
int mount_private(const char *source, const char *dir, const char *filesystem, const char *options,
		  Error **err);
/* Everything mounted on `dir`. ERR_BUSY while files are open in it; nothing mounted is success. */
int mount_remove(const char *dir, long magic, Error **err);
