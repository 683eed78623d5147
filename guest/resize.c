#include "resize.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "apart.h"
#include "base.h"

/* From fs/ext4/ext4.h: the new size in blocks of the filesystem. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)
#define EXT4_SUPER_MAGIC   0xef53
#define EXT4_SUPER_OFFSET  1024

#define COMPAT_RESIZE_INODE 0x10
#define INCOMPAT_META_BG    0x10
#define INCOMPAT_64BIT	    0x80

/* Seconds under emulation, and whole groups of groups. */
#define STEP_BYTES (64ULL << 30)
/* Another process is at it. */
#define BUSY_US 100000

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

bool resize_is_due(const char *path, uint64_t *known_bytes)
{
	struct stat status;
	uint64_t bytes;

	if (stat(path, &status) < 0 || device_size(status.st_dev, &bytes) < 0 ||
	    bytes == *known_bytes)
		return false;
	*known_bytes = bytes;
	return true;
}

static uint32_t get_u16(const uint8_t *from)
{
	return from[0] | (uint32_t)from[1] << 8;
}

static uint32_t get_u32(const uint8_t *from)
{
	return get_u16(from) | get_u16(from + 2) << 16;
}

bool resize_read_shape(const uint8_t super[RESIZE_SUPER_BYTES], ResizeShape *out_shape)
{
	uint32_t log_block = get_u32(super + 24), per_group = get_u32(super + 32);
	uint32_t incompat = get_u32(super + 96), first = get_u32(super + 20);
	uint64_t blocks = get_u32(super + 4), per_descriptor = 32, descriptors, groups;

	if (get_u16(super + 56) != EXT4_SUPER_MAGIC || log_block > 6 || per_group == 0)
		return false;
	if (incompat & INCOMPAT_64BIT) {
		blocks |= (uint64_t)get_u32(super + 336) << 32;
		per_descriptor = get_u16(super + 254);
	}
	if (per_descriptor < 32 || per_descriptor > 1024 || blocks <= first)
		return false;
	*out_shape = (ResizeShape){ .block_bytes = 1024ULL << log_block, .blocks = blocks };
	/*
	 * With all reserved blocks of descriptors used, the kernel goes over to another layout (meta_bg); where it was cut off
	 * in that, it dies of the next attempt to grow. So that is as far as it goes.
	 */
	out_shape->blocks_max = blocks;
	if (!(get_u32(super + 92) & COMPAT_RESIZE_INODE) || incompat & INCOMPAT_META_BG)
		return true;
	descriptors = out_shape->block_bytes / per_descriptor;
	groups = (blocks - first + per_group - 1) / per_group;
	groups = ((groups + descriptors - 1) / descriptors + get_u16(super + 206)) * descriptors;
	out_shape->blocks_max = first + groups * per_group;
	return true;
}

uint64_t resize_next(const ResizeShape *shape, uint64_t device_bytes)
{
	uint64_t step = STEP_BYTES / shape->block_bytes, blocks = device_bytes / shape->block_bytes;
	uint64_t next = (shape->blocks / step + 1) * step;

	if (blocks > shape->blocks_max)
		blocks = shape->blocks_max;
	if (next > blocks)
		next = blocks;
	return next > shape->blocks ? next : shape->blocks;
}

/* By the name that the kernel gives it in /dev. */
static int open_device(dev_t device)
{
	char path[64], text[512], *name;

	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/uevent", major(device),
		       minor(device));
	if (read_text(path, text, sizeof(text)) < 0)
		return -1;
	name = strstr(text, "DEVNAME=");
	if (!name) {
		errno = ENODEV;
		return -1;
	}
	name += strlen("DEVNAME=");
	name[strcspn(name, "\n")] = '\0';
	(void)snprintf(path, sizeof(path), "/dev/%s", name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* What the kernel has in its cache of the device is the superblock as it is now. */
static int read_shape(int device, ResizeShape *out_shape)
{
	uint8_t super[RESIZE_SUPER_BYTES];

	if (pread(device, super, sizeof(super), EXT4_SUPER_OFFSET) != (ssize_t)sizeof(super))
		return -1;
	if (resize_read_shape(super, out_shape))
		return 0;
	errno = EOPNOTSUPP;
	return -1;
}

static bool is_awaited(void)
{
	struct pollfd reader = { .fd = STDOUT_FILENO };

	return poll(&reader, 1, 0) == 0;
}

/* 0 and the size that it has then, or -1 with errno. */
static int grow_to_device(int fd, int device, dev_t number, uint64_t *out_bytes)
{
	uint64_t bytes, next;
	ResizeShape shape;

	for (;;) {
		if (device_size(number, &bytes) < 0 || read_shape(device, &shape) < 0)
			return -1;
		next = resize_next(&shape, bytes);
		if (next == shape.blocks)
			break;
		if (ioctl(fd, EXT4_IOC_RESIZE_FS, &next) == 0)
			continue;
		if (errno != EBUSY || !is_awaited())
			return -1;
		(void)usleep(BUSY_US);
	}
	*out_bytes = shape.blocks * shape.block_bytes;
	return 0;
}

static int grow(const char *path, uint64_t *out_bytes)
{
	auto_fd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_fd device = -1;
	struct statfs statistics;
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0 || fstatfs(fd, &statistics) < 0)
		return -1;
	if (statistics.f_type != EXT4_SUPER_MAGIC) {
		errno = EOPNOTSUPP;
		return -1;
	}
	device = open_device(status.st_dev);
	if (device < 0)
		return -1;
	return grow_to_device(fd, device, status.st_dev, out_bytes);
}

static void run(const void *arg)
{
	const char *path = arg;
	ResizeReport report = { 0 };
	sigset_t pipe_only;

	/* The end of the machine ends it, between two steps; that nobody listens does not. */
	(void)sigemptyset(&pipe_only);
	(void)sigaddset(&pipe_only, SIGPIPE);
	(void)sigprocmask(SIG_SETMASK, &pipe_only, NULL);
	if (grow(path, &report.bytes) < 0)
		report.errnum = errno;
	if (write(STDOUT_FILENO, &report, sizeof(report)) < 0)
		return;
}

int resize_start(const char *path, int *out_report)
{
	int report[2], started;

	if (pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	started = apart_start(-1, report[1], run, path);
	close_fd(&report[1]);
	if (started < 0) {
		close_fd(&report[0]);
		errno = EAGAIN;
		return -1;
	}
	*out_report = report[0];
	return 0;
}
