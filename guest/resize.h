/*
 * Growing a mounted ext4 to its block device.
 */
#pragma once

#include <stdint.h>

/*
 * 0 and the device's size in bytes (all of it is the filesystem's then; nothing happens when it was
 * before), or -1 with errno: ENOTTY or EOPNOTSUPP when it is not a filesystem that can.
 */
int resize_filesystem(const char *path, uint64_t *out_bytes);
