/*
 * The contents of one file in another.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "util/cancel.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

/* Between two looks at Ctrl-C and two reports. */
#define CHUNK_BYTES  (8U << 20)
#define BUFFER_BYTES (256U << 10)

/* The slow way, which works with everything that can be written to. */
static int copy_by_hand(int from_fd, uint64_t offset, uint64_t len, int to_fd, Error **err)
{
	auto_free char *buffer = xmalloc(BUFFER_BYTES);

	while (len) {
		size_t want = len < BUFFER_BYTES ? (size_t)len : BUFFER_BYTES;
		ssize_t got = pread(from_fd, buffer, want, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(err, errno, "read");
		if (got == 0)
			return error_set(err, ERR_FAILED, "the file became shorter meanwhile");
		if (cancel_check(err) < 0 || fs_write_all(to_fd, buffer, (size_t)got, err) < 0)
			return -1;
		offset += (uint64_t)got;
		len -= (uint64_t)got;
	}
	return 0;
}

int fs_copy_range(int from_fd, uint64_t offset, uint64_t len, int to_fd, Error **err)
{
	while (len) {
		off_t at = (off_t)offset;
		size_t want = len < CHUNK_BYTES ? (size_t)len : CHUNK_BYTES;
		ssize_t got = copy_file_range(from_fd, &at, to_fd, NULL, want, 0);

		if (cancel_check(err) < 0)
			return -1;
		/* A pipe, another filesystem, an old kernel: what is wrong in earnest shows there too. */
		if (got <= 0)
			return copy_by_hand(from_fd, offset, len, to_fd, err);
		offset += (uint64_t)got;
		len -= (uint64_t)got;
	}
	return 0;
}

/* From `*start` on, where data is next; false: only a hole is left. */
static bool next_data(int fd, uint64_t size, uint64_t *start, uint64_t *out_end)
{
	off_t data = lseek(fd, (off_t)*start, SEEK_DATA);
	off_t hole;

	if (data < 0 && errno == ENXIO)
		return false;
	if (data < 0) {
		*out_end = size; /* a filesystem that cannot tell: it is all data */
		return *start < size;
	}
	hole = lseek(fd, data, SEEK_HOLE);
	*start = (uint64_t)data;
	*out_end = hole < 0 || (uint64_t)hole > size ? size : (uint64_t)hole;
	return *start < size;
}

static int copy_file(int from_fd, int to_fd, uint64_t size, FsProgress progress, void *arg,
		     Error **err)
{
	uint64_t start = 0, end;

	for (; next_data(from_fd, size, &start, &end); start = end) {
		for (uint64_t at = start; at < end; at += CHUNK_BYTES) {
			uint64_t len = end - at < CHUNK_BYTES ? end - at : CHUNK_BYTES;

			if (lseek(to_fd, (off_t)at, SEEK_SET) < 0)
				return error_set_errno(err, errno, "copy");
			if (fs_copy_range(from_fd, at, len, to_fd, err) < 0)
				return -1;
			if (progress)
				progress(arg, at + len, size);
		}
	}
	return 0;
}

static int write_at(int fd, uint64_t offset, const char *data, size_t len, Error **err)
{
	if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
		return error_set_errno(err, errno, "copy");
	return fs_write_all(fd, data, len, err);
}

static bool is_zero(const char *data, size_t len)
{
	return data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

/* A device has no holes that one could ask for: what is zero is one. */
static int copy_device(int from_fd, int to_fd, uint64_t size, FsProgress progress, void *arg,
		       Error **err)
{
	auto_free char *buffer = xmalloc(BUFFER_BYTES);
	size_t got;

	if (lseek(from_fd, 0, SEEK_SET) < 0)
		return error_set_errno(err, errno, "copy");
	for (uint64_t at = 0; at < size; at += got) {
		if (fs_read_full(from_fd, buffer, BUFFER_BYTES, &got, err) < 0)
			return -1;
		if (got == 0)
			return error_set(err, ERR_FAILED, "the device became smaller meanwhile");
		if (!is_zero(buffer, got) && write_at(to_fd, at, buffer, got, err) < 0)
			return -1;
		if (progress)
			progress(arg, at + got, size);
	}
	return 0;
}

int fs_copy_contents(int from_fd, int to_fd, FsProgress progress, void *arg, Error **err)
{
	struct stat st, to;
	off_t size;

	if (fstat(from_fd, &st) < 0 || fstat(to_fd, &to) < 0)
		return error_set_errno(err, errno, "look at the file to copy");
	size = S_ISBLK(st.st_mode) ? lseek(from_fd, 0, SEEK_END) : st.st_size;
	if (size < 0)
		return error_set_errno(err, errno, "measure the device to copy");
	if (os_clone_contents(from_fd, to_fd) == 0)
		return 0;
	if (!S_ISBLK(to.st_mode) && ftruncate(to_fd, size) < 0)
		return error_set_errno(err, errno, "make room for %lld bytes", (long long)size);
	return S_ISBLK(st.st_mode) ? copy_device(from_fd, to_fd, (uint64_t)size, progress, arg, err)
				   : copy_file(from_fd, to_fd, (uint64_t)size, progress, arg, err);
}
