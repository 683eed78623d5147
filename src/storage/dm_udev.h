/*
 * Waiting for udev (man 8 dmsetup, "udevcookies"): a change to a device mapper device carries a
 * cookie, the key of a System V semaphore that udev's last rule counts down. The cookie also says
 * which rules are to leave the device alone; for ours it is all of them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct DmUdev {
	int semaphore;	 /* -1: nobody to wait for */
	uint32_t cookie; /* for the event_nr of struct dm_ioctl */
} DmUdev;

#define DM_UDEV_NONE            \
	(DmUdev)                \
	{                       \
		.semaphore = -1 \
	}

/* Without a udev that runs there is nothing to wait for. */
void dm_udev_begin(DmUdev *out_udev);
/* Wait until udev is through with it (a few seconds at most), if the kernel `has_told` it at all. */
void dm_udev_end(DmUdev *udev, bool has_told);
