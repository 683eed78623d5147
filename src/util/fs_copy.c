/*
 * The contents of one file in another.
 */
#include <errno.h>
#include <fcntl.h>

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

int fs_copy_contents(int from_fd, int to_fd, FsProgress progress, void *arg, Error **err)
{
	struct stat st;
	uint64_t size, start = 0, end;

	if (fstat(from_fd, &st) < 0)
		return error_set_errno(err, errno, "look at the file to copy");
	size = (uint64_t)st.st_size;
	if (os_clone_contents(from_fd, to_fd) == 0)
		return 0;
	if (ftruncate(to_fd, st.st_size) < 0)
		return error_set_errno(err, errno, "make room for %llu bytes",
				       (unsigned long long)size);
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
