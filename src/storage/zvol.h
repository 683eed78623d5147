/*
 * The device nodes of zvols (ZFS volumes), which udev makes a moment after the volume.
 *
 * They are found below /dev/zvol, or below $EMBER_ZVOL_DIR where that is set: for tests and for
 * systems whose udev rules put them elsewhere. What is found there may be a plain file.
 */
#pragma once

#include "util/deadline.h"
#include "util/error.h"

/* Where the node of DATASET/VOLUME is, or will be. Owned. */
char *zvol_path(const char *dataset, const char *volume);

/* Wait until the node is there and leads to the volume of that name ("tank/ember-3f2a/ID"), not to
 * another one that had the name before. ERR_TIMEOUT. *out_is_device may be NULL. */
int zvol_wait(const char *path, const char *name, Deadline until, bool *out_is_device, Error **err);
/* Is it there right now? */
bool zvol_is_there(const char *path, const char *name, bool *out_is_device);
