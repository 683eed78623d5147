#include "kernel/magic.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "util/mem.h"

#define HEAD_SIZE 0x210

int kernel_format_of(const char *path, KernelFormat *out_format, Error **err)
{
	unsigned char head[HEAD_SIZE] = { 0 };
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0) {
		error_set_errno(err, errno, "read kernel '%s'", path);
		return error_hint(err, "name a vmlinux, a bzImage or an arm64 Image");
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || pread(fd, head, sizeof(head), 0) < 0)
		memset(head, 0, sizeof(head));
	if (!memcmp(head, "\177ELF", 4)) {
		*out_format = KERNEL_ELF;
	} else if (!memcmp(head + 0x202, "HdrS", 4) && head[0x1fe] == 0x55 && head[0x1ff] == 0xaa) {
		*out_format = KERNEL_BZIMAGE;
	} else if (!memcmp(head + 0x38, "ARM\x64", 4)) {
		*out_format = KERNEL_ARM64;
	} else {
		error_set(err, ERR_USAGE, "'%s' is not a kernel", path);
		return error_hint(err, "name a vmlinux, a bzImage or an arm64 Image");
	}
	return 0;
}
