/*
 * Our initramfs: ember-boot as /init, and the modules that a microVM needs, named in the order in which to load them.
 *
 * The archive is cpio's "new ASCII" format (Documentation/driver-api/early-userspace/buffer-format.rst of the Linux
 * source), not compressed: under emulation unpacking costs more than reading.
 */
#pragma once

#include "util/error.h"
#include "util/str.h"

/* A cpio archive in the making. */
typedef struct Cpio {
	int fd;
	unsigned inode;		    /* of the last entry */
	unsigned long long written; /* bytes */
} Cpio;

/* Entries have names without a leading slash and mode bits with their type; owner root, time 0. */
int cpio_add(Cpio *cpio, const char *name, unsigned mode, const void *data, size_t len,
	     Error **err);
int cpio_add_device(Cpio *cpio, const char *name, unsigned mode, unsigned major, unsigned minor,
		    Error **err);
int cpio_finish(Cpio *cpio, Error **err);

/*
 * The paths of the modules in load order, dependencies first. `wanted` are module names (virtio_blk; - and _ are the
 * same); one that `module_dir` (lib/modules/VERSION/kernel) does not have is taken to be built in. A compressed module is
 * decompressed beside itself: the directory must be ours.
 */
int initramfs_order_modules(const char *module_dir, const char *const *wanted, size_t count,
			    Strv *out_paths, Error **err);

/* Write the archive to the new file `path`. */
int initramfs_write(const char *path, const char *boot_program, const Strv *module_paths,
		    Error **err);
