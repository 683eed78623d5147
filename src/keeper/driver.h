/*
 * The keeper's half of a hypervisor back end: the protocol that is spoken while the VM runs.
 *
 * A driver works in the keeper's loop and never blocks. Its requests are not answered one by one:
 * what came of them is told by `paused` and by the end of the process, and a refusal by `refused`.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "keeper/loop.h"
#include "util/error.h"

typedef enum DriverRequest {
	DRIVER_PAUSE,
	DRIVER_RESUME,
	DRIVER_POWER_BUTTON, /* the guest is asked by its firmware to shut down */
	DRIVER_QUIT,	     /* the hypervisor ends itself, flushing its disks */
	DRIVER_DISK_RESIZE,  /* by `resize_disk`; `done` is told of this one */
	DRIVER_DISK_SWITCH,  /* by `switch_disk`; and of this one */
} DriverRequest;

typedef struct DriverOwner {
	/* The hypervisor answers; once. */
	void (*ready)(void *arg);
	/* Its vCPUs stand still, or run (again). Told after `ready` and on every change. */
	void (*paused)(void *arg, bool is_paused);
	/* The hypervisor stopped them itself, since a disk of the host failed to take a write. The
	 * guest was told nothing: after DRIVER_RESUME the write is tried again. */
	void (*stuck)(void *arg);
	/* Why it is about to end: QEMU's ShutdownCause ("guest-shutdown"). */
	void (*shutdown)(void *arg, const char *cause);
	void (*refused)(void *arg, DriverRequest request, const char *why);
	void (*done)(void *arg, DriverRequest request);
	/* The control socket broke; nothing more comes. Takes the error. */
	void (*lost)(void *arg, Error *why);
} DriverOwner;

typedef struct Driver {
	const char *name; /* LaunchPlan.driver */

	/* Connect; the outcome comes as `ready` or `lost`. The result is closed with `close`. */
	void *(*open)(Loop *loop, const char *control_socket, const DriverOwner *owner, void *arg,
		      Error **err);
	/* False: not connected (any more). */
	bool (*request)(void *driver, DriverRequest request);
	/* Tell the guest that its disk is of that size, which is not less than it was; a disk whose
	 * format only the hypervisor knows is grown by this. One at a time: `done` or `refused` ends
	 * it. False: not connected, or one is under way. NULL: it cannot. */
	bool (*resize_disk)(void *driver, uint64_t size_bytes);
	/* From `done` on the guest writes to that qcow2 file, which has on top of it what its disk
	 * was; that one is flushed, and only read from then on. One change of the disk at a time, as
	 * above. NULL: it cannot. */
	bool (*switch_disk)(void *driver, const char *overlay);
	/* The process has ended: read what it still said. */
	void (*drain)(void *driver);
	void (*close)(void *driver); /* NULL is fine */
} Driver;

/* By the name in a launch plan; ERR_UNSUPPORTED when this keeper has no such driver. */
const Driver *driver_find(const char *name, Error **err);

extern const Driver qemu_driver; /* driver_qemu.c */
