/*
 * The file with a root disk in it, from its path to the filesystem.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "image/disk_probe.h"
#include "image/export_options.h"
#include "image/extfs.h"
#include "util/compiler.h"
#include "util/error.h"

typedef struct RootDisk {
	int fd;
	uint64_t size;
	bool is_found;
	DiskPlace
		place; /* of the filesystem; its offset holds before it is found when `has_offset` */
	bool has_offset;
} RootDisk;
#define ROOT_DISK_NONE ((RootDisk){ .fd = -1 })

/* Open the file or block device, and learn its size. Looks at none of its bytes. */
int root_disk_open(RootDisk *disk, const ExportOptions *options, Error **err);
/* Where is the filesystem? For the worker. */
int root_disk_find(RootDisk *disk, Error **err);
/* To an error that has no hint yet: how else to get at what is on the disk. Returns -1. */
int root_disk_hint(Error **err);
int root_disk_mount(const RootDisk *disk, Extfs *out, Error **err);
void root_disk_release(RootDisk *disk);
#define auto_root_disk CLEANUP(root_disk_release)
