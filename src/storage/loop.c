#include "storage/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "util/fs.h"
#include "util/mem.h"
#include "util/str.h"

/* Between asking for a free device and taking it somebody else may have taken it. */
#define ATTACH_TRIES 64

void loop_device_release(LoopDevice *device)
{
	free(device->path);
	close_fd(&device->fd);
	*device = LOOP_DEVICE_NONE;
}

/* A device whose node we may not open is compared by the path that sysfs shows. */
static bool same_path(const char *device, int backing_fd)
{
	auto_free char *sysfs = xasprintf("/sys/block/%s/loop/backing_file", device);
	auto_free char *proc = xasprintf("/proc/self/fd/%d", backing_fd);
	auto_free char *text = NULL;
	char ours[PATH_MAX];
	ssize_t len = readlink(proc, ours, sizeof(ours) - 1);

	if (len < 0 || fs_read(sysfs, sizeof(ours), &text, NULL, NULL) < 0)
		return false;
	ours[len] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return !strcmp(text, ours);
}

/* Is that file on this device? Fills *out_device when it is. */
static bool device_has(const char *name, int backing_fd, const struct stat *backing,
		       LoopDevice *out_device)
{
	auto_free char *path = path_join("/dev", name);
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	struct loop_info64 info = { 0 };
	bool whole_file;

	/* ENXIO, here and below: it is being detached, nobody can use it any more. */
	if (fd < 0 && (errno == ENXIO || !same_path(name, backing_fd)))
		return false;
	if (fd >= 0 && (ioctl(fd, LOOP_GET_STATUS64, &info) < 0 ||
			info.lo_device != backing->st_dev || info.lo_inode != backing->st_ino))
		return false;
	whole_file = fd >= 0 && info.lo_offset == 0 && info.lo_sizelimit == 0 &&
		     !(info.lo_flags & LO_FLAGS_READ_ONLY);
	*out_device =
		(LoopDevice){ .path = steal(&path), .fd = steal_fd(&fd), .whole_file = whole_file };
	return true;
}

static int attached_twice(const LoopDevice *one, const LoopDevice *other, Error **err)
{
	error_set(
		err, ERR_BUSY,
		"the store's file is attached to two devices, '%s' and '%s': what is written through "
		"both is lost",
		one->path, other->path);
	return error_hint(err, "detach the one that is not in use: losetup -d '%s'", other->path);
}

int loop_find(int backing_fd, LoopDevice *out_device, Error **err)
{
	auto_strv Strv devices = { 0 };
	auto_loop_device LoopDevice found = LOOP_DEVICE_NONE;
	struct stat backing;

	if (fstat(backing_fd, &backing) < 0)
		return error_set_errno(err, errno, "look at the store's file");
	if (fs_list("/sys/block", &devices, err) < 0)
		return -1;
	for (size_t i = 0; i < devices.count; i++) {
		const char *name = devices.items[i];
		auto_free char *attached = xasprintf("/sys/block/%s/loop", name);
		auto_loop_device LoopDevice device = LOOP_DEVICE_NONE;

		if (!str_starts_with(name, "loop") || !fs_exists(attached) ||
		    !device_has(name, backing_fd, &backing, &device))
			continue;
		if (found.path)
			return attached_twice(&found, &device, err);
		found = device;
		device = LOOP_DEVICE_NONE;
	}
	if (!found.path)
		return 0;
	*out_device = found;
	found = LOOP_DEVICE_NONE;
	return 1;
}

int loop_find_shareable(int backing_fd, const char *path, LoopDevice *out_device, Error **err)
{
	int found = loop_find(backing_fd, out_device, err);

	if (found <= 0 || out_device->whole_file)
		return found;
	error_set(err, ERR_BUSY, "'%s' is attached to '%s' in a way that ember cannot share", path,
		  out_device->path);
	return error_hint(err, "detach it: losetup -d '%s'", out_device->path);
}

/* 1 attached, 0 somebody was faster, -1. */
static int try_attach(int control, const struct loop_config *config, LoopDevice *out_device,
		      Error **err)
{
	int number = ioctl(control, LOOP_CTL_GET_FREE);
	auto_free char *path = NULL;
	auto_fd fd = -1;

	if (number < 0)
		return error_set_errno(err, errno, "find a free loop device");
	path = xasprintf("/dev/loop%d", number);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "open '%s'", path);
	if (ioctl(fd, LOOP_CONFIGURE, config) < 0) {
		if (errno == EBUSY)
			return 0;
		return error_set_errno(err, errno, "attach the store's file to '%s'", path);
	}
	*out_device = (LoopDevice){ .path = steal(&path), .fd = steal_fd(&fd), .whole_file = true };
	return 1;
}

int loop_attach(const char *backing_path, LoopDevice *out_device, Error **err)
{
	auto_fd control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	/* The kernel keeps this open file, and with it any flock(2) on it: hence not the caller's. */
	auto_fd backing = open(backing_path, O_RDWR | O_CLOEXEC);
	struct loop_config config = { 0 };

	if (control < 0)
		return error_set_errno(err, errno, "open '/dev/loop-control'");
	if (backing < 0)
		return error_set_errno(err, errno, "open '%s'", backing_path);
	config.fd = (__u32)backing;
	/* Direct I/O: the store's filesystem caches already, twice would double the memory. */
	config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
	(void)snprintf((char *)config.info.lo_file_name, LO_NAME_SIZE, "%s", backing_path);
	for (int i = 0; i < ATTACH_TRIES; i++) {
		int done = try_attach(control, &config, out_device, err);

		if (done)
			return done < 0 ? -1 : 0;
	}
	return error_set(err, ERR_BUSY, "no free loop device");
}

int loop_refresh_size(const LoopDevice *device, Error **err)
{
	if (device->fd < 0)
		return error_set(err, ERR_DENIED, "'%s' cannot be opened to make it larger",
				 device->path);
	if (ioctl(device->fd, LOOP_SET_CAPACITY, 0) < 0)
		return error_set_errno(err, errno, "make '%s' larger", device->path);
	return 0;
}

int loop_detach(const LoopDevice *device, Error **err)
{
	if (device->fd < 0)
		return error_set(err, ERR_DENIED, "'%s' cannot be opened to detach it",
				 device->path);
	if (ioctl(device->fd, LOOP_CLR_FD, 0) < 0 && errno != ENXIO)
		return error_set_errno(err, errno, "detach '%s'", device->path);
	return 0;
}
