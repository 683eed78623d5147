/*
 * Loop devices (loop(4)): a file as a block device. They detach themselves with their last user, so
 * an interrupted attach leaves nothing.
 */
#pragma once

#include <stdbool.h>

#include "util/error.h"

typedef struct LoopDevice {
	char *path;	 /* /dev/loopN */
	int fd;		 /* keeps it attached; -1 when it may not be opened */
	bool whole_file; /* shows the whole file, writable: as good as one of our own */
} LoopDevice;

#define LOOP_DEVICE_NONE               \
	(LoopDevice)                   \
	{                              \
		.path = NULL, .fd = -1 \
	}

void loop_device_release(LoopDevice *device);
#define auto_loop_device CLEANUP(loop_device_release)

/* The device that the open file is attached to, by whomever and by whatever name of it: 1 found, 0 none.
 * Two devices of one file would let two filesystems write over each other: ERR_BUSY. */
int loop_find(int backing_fd, LoopDevice *out_device, Error **err);

/* The same, refused unless it shows the whole file and can be written to: ERR_BUSY. `path` is for the message. */
int loop_find_shareable(int backing_fd, const char *path, LoopDevice *out_device, Error **err);

/* Attach the file to a free device. It stays while *out_device is held or something has it mounted.
 */
int loop_attach(const char *backing_path, LoopDevice *out_device, Error **err);

/* The file has become larger: so does the device, while it is in use. */
int loop_refresh_size(const LoopDevice *device, Error **err);

/* Let go of the device as soon as nobody uses it. */
int loop_detach(const LoopDevice *device, Error **err);
