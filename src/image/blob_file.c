#include "image/blob_file.h"

#include <errno.h>
#include <fcntl.h>

#include "image/digest.h"
#include "util/mem.h"
#include "util/str.h"

int regular_open(int dir_fd, const char *path, struct stat *out_st, int *out_fd, Error **err)
{
	auto_fd fd =
		openat(dir_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return error_set_errno(err, errno, "open '%s'", path);
	if (fstat(fd, out_st) < 0)
		return error_set_errno(err, errno, "look at '%s'", path);
	if (!S_ISREG(out_st->st_mode))
		return error_set(err, ERR_FAILED, "'%s' is not a regular file", path);
	*out_fd = steal_fd(&fd);
	return 0;
}

int blob_file_open(int blobs_fd, const char *digest, struct stat *out_st, int *out_fd, Error **err)
{
	const char *hex = digest_hex(digest);
	auto_free char *path = xasprintf("%.*s/%s", (int)(hex - digest - 1), digest, hex);

	return regular_open(blobs_fd, path, out_st, out_fd, err);
}
