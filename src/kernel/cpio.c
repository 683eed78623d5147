#include <string.h>
#include <sys/stat.h>

#include "kernel/initramfs.h"
#include "util/fs.h"
#include "util/mem.h"

#define ALIGNMENT 4

static int put(Cpio *cpio, const void *data, size_t len, Error **err)
{
	static const char zeros[ALIGNMENT];
	size_t padding = (ALIGNMENT - (cpio->written + len) % ALIGNMENT) % ALIGNMENT;

	if (fs_write_all(cpio->fd, data, len, err) < 0 ||
	    fs_write_all(cpio->fd, zeros, padding, err) < 0)
		return error_wrap(err, "initramfs");
	cpio->written += len + padding;
	return 0;
}

static int add(Cpio *cpio, const char *name, unsigned mode, unsigned major, unsigned minor,
	       const void *data, size_t len, Error **err)
{
	/* magic, ino, mode, uid, gid, nlink, mtime, filesize, dev major/minor, rdev major/minor, namesize, check */
	auto_free char *header =
		xasprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s",
			  ++cpio->inode, mode, 0U, 0U, 1U, 0U, (unsigned)len, 0U, 0U, major, minor,
			  (unsigned)strlen(name) + 1, 0U, name);

	if (put(cpio, header, strlen(header) + 1, err) < 0)
		return -1;
	return len ? put(cpio, data, len, err) : 0;
}

int cpio_add(Cpio *cpio, const char *name, unsigned mode, const void *data, size_t len, Error **err)
{
	return add(cpio, name, mode, 0, 0, data, len, err);
}

int cpio_add_device(Cpio *cpio, const char *name, unsigned mode, unsigned major, unsigned minor,
		    Error **err)
{
	return add(cpio, name, mode, major, minor, NULL, 0, err);
}

int cpio_finish(Cpio *cpio, Error **err)
{
	return add(cpio, "TRAILER!!!", 0, 0, 0, NULL, 0, err);
}
