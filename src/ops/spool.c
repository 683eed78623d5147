#include "ops/spool.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "model/size.h"
#include "util/fs.h"
#include "util/mem.h"

#define CHUNK 65536
#define BLOCK 4096

/* A full disk stops VMs, so some of it stays free: a part of a small one, no more than that of a large one. */
#define RESERVE_PART 8
#define RESERVE_MAX  (1ULL << 30)

int spool_no_room(Error **err)
{
	error_set(err, ERR_FAILED, "there is more in it than the disk has room for");
	return error_hint(
		err,
		"free some space: ember image prune, or have the state elsewhere: --state-dir DIR");
}

int spool_check(int fd, uint64_t bytes, uint64_t max_bytes, Error **err)
{
	struct statvfs st;
	uint64_t reserve, left;

	if (bytes > max_bytes) {
		auto_free char *most = size_text(max_bytes);

		error_set(err, ERR_USAGE, "there is more in it than %s", most);
		return error_hint(err, "see where it comes from: this is no image");
	}
	if (fstatvfs(fd, &st) < 0)
		return error_set_errno(err, errno, "see how much of the disk is free");
	reserve = (uint64_t)st.f_blocks * st.f_frsize / RESERVE_PART;
	if (reserve > RESERVE_MAX)
		reserve = RESERVE_MAX;
	left = (uint64_t)st.f_bavail * st.f_frsize;
	if (left >= reserve)
		return 0;
	return spool_no_room(err);
}

static bool is_zero(const char *data, size_t len)
{
	return len && !data[0] && !memcmp(data, data + 1, len - 1);
}

/* Block by block, so that zeros take no space. */
static int write_chunk(const Spool *spool, const char *data, size_t len, Error **err)
{
	for (size_t at = 0; at < len; at += BLOCK) {
		size_t part = len - at < BLOCK ? len - at : BLOCK;

		if (is_zero(data + at, part))
			continue;
		if (lseek(spool->to_fd, (off_t)(spool->done + at), SEEK_SET) < 0)
			return error_set_errno(err, errno, "write");
		if (fs_write_all(spool->to_fd, data + at, part, err) < 0)
			return -1;
	}
	return 0;
}

int spool_read(Spool *spool, uint64_t until, Error **err)
{
	auto_free char *data = xmalloc(CHUNK);

	while (spool->done < until && !spool->has_ended) {
		uint64_t left = until - spool->done;
		size_t want = left < CHUNK ? (size_t)left : CHUNK;
		size_t len;

		if (fs_read_full(spool->from_fd, data, want, &len, err) < 0)
			return -1;
		spool->has_ended = len < want;
		if (spool_check(spool->to_fd, spool->done + len, spool->max_bytes, err) < 0 ||
		    write_chunk(spool, data, len, err) < 0)
			return -1;
		spool->done += len;
		report_bytes(spool->ctx, spool->done, 0);
	}
	if (ftruncate(spool->to_fd, (off_t)spool->done) < 0)
		return error_set_errno(err, errno, "size the file");
	return 0;
}
