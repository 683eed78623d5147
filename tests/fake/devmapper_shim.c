/*
 * Puts a fake in the place of the kernel's device mapper: what a program asks /dev/mapper/control goes, byte for byte,
 * to the process that listens on the socket EMBER_FAKE_DM (tests/fake/devmapper). For LD_PRELOAD; only for tests.
 *
 * A question is the number of the ioctl (u32) and its struct dm_ioctl with all its data; the answer an errno (u32) and
 * the same back. One packet each.
 */
#undef _FILE_OFFSET_BITS /* open() and open64() are two names here */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define CONTROL "/dev/" DM_DIR "/" DM_CONTROL_NODE

int open(const char *path, int flags, ...);
int open64(const char *path, int flags, ...);
int ioctl(int fd, unsigned long request, ...);

static int connect_fake(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *path = getenv("EMBER_FAKE_DM");
	int fd;

	if (!path || strlen(path) >= sizeof(to.sun_path)) {
		errno = ENOENT;
		return -1;
	}
	strcpy(to.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		(void)close(fd);
		errno = ENXIO;
		return -1;
	}
	return fd;
}

static int open_by(const char *function, const char *path, int flags, mode_t mode)
{
	int (*real)(const char *, int, ...);

	if (!strcmp(path, CONTROL))
		return connect_fake();
	*(void **)&real = dlsym(RTLD_NEXT, function);
	return real(path, flags, mode);
}

/* A mode is there only with these flags; elsewhere it is whatever, and ignored. */
#define OPEN(name)                                             \
	int name(const char *path, int flags, ...)             \
	{                                                      \
		mode_t mode = 0;                               \
		va_list args;                                  \
                                                               \
		va_start(args, flags);                         \
		if (flags & (O_CREAT | O_TMPFILE))             \
			mode = (mode_t)va_arg(args, unsigned); \
		va_end(args);                                  \
		return open_by(#name, path, flags, mode);      \
	}

OPEN(open)
OPEN(open64)

static int ask(int fd, uint32_t request, struct dm_ioctl *io)
{
	uint32_t failed;
	struct iovec parts[] = { { &request, sizeof(request) }, { io, io->data_size } };
	struct iovec answer[] = { { &failed, sizeof(failed) }, { io, io->data_size } };

	if (writev(fd, parts, 2) < 0 || readv(fd, answer, 2) < (ssize_t)sizeof(failed)) {
		errno = EIO;
		return -1;
	}
	errno = (int)failed;
	return failed ? -1 : 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int, unsigned long, ...);
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (_IOC_TYPE(request) == DM_IOCTL)
		return ask(fd, (uint32_t)request, arg);
	*(void **)&real = dlsym(RTLD_NEXT, "ioctl");
	return real(fd, request, arg);
}
