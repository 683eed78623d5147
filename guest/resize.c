#include "resize.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base.h"

/* From fs/ext4/ext4.h: the new size in blocks of the filesystem. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)
#define EXT4_SUPER_MAGIC   0xef53

/* sysfs counts in sectors of 512 bytes whatever the device's own are. */
static int device_size(dev_t device, uint64_t *out_bytes)
{
	char path[64], text[32];

	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/size", major(device),
		       minor(device));
	if (read_text(path, text, sizeof(text)) < 0)
		return -1;
	*out_bytes = strtoull(text, NULL, 10) * 512;
	return 0;
}

int resize_filesystem(const char *path, uint64_t *out_bytes)
{
	auto_fd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t blocks, bytes;
	struct statfs statistics;
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0 || fstatfs(fd, &statistics) < 0)
		return -1;
	if (statistics.f_type != EXT4_SUPER_MAGIC) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if (device_size(status.st_dev, &bytes) < 0)
		return -1;
	blocks = bytes / (uint64_t)statistics.f_bsize;
	if (ioctl(fd, EXT4_IOC_RESIZE_FS, &blocks) < 0)
		return -1;
	*out_bytes = blocks * (uint64_t)statistics.f_bsize;
	return 0;
}
