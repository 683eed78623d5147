/*
 * What a volume holds, for those who read and write disks as plain files.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/qcow2.h"
#include "storage/qcow2_layers.h"
#include "storage/qcow2_write.h"
#include "util/cancel.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* Between two looks at Ctrl-C, and two reports. */
#define CLUSTERS_PER_STEP 64

static const uint8_t zeroes[QCOW2_SUBCLUSTER];

static int open_chain(const StoragePool *pool, const char *volume, Qcow2Chain *out_chain,
		      Error **err)
{
	auto_qcow2_volume Qcow2Volume found = { 0 };

	if (qcow2_find(pool, volume, &found, err) < 0)
		return -1;
	return qcow2_chain_open(pool->dir, found.file, out_chain, err);
}

int qcow2_read(StoragePool *pool, const char *volume, uint64_t offset, void *data, size_t len,
	       Error **err)
{
	auto_qcow2_chain Qcow2Chain chain = { 0 };
	auto_free uint8_t *cluster = xmalloc(QCOW2_CLUSTER);

	if (open_chain(pool, volume, &chain, err) < 0)
		return -1;
	while (len) {
		size_t skip = offset % QCOW2_CLUSTER;
		size_t part = QCOW2_CLUSTER - skip < len ? QCOW2_CLUSTER - skip : len;

		if (qcow2_chain_read(&chain, 0, offset / QCOW2_CLUSTER, cluster, err) < 0)
			return -1;
		memcpy(data, cluster + skip, part);
		data = (uint8_t *)data + part;
		offset += part;
		len -= part;
	}
	return 0;
}

static bool is_zero(const uint8_t *data)
{
	return memcmp(data, zeroes, QCOW2_SUBCLUSTER) == 0;
}

static int write_run(int fd, uint64_t offset, const uint8_t *data, size_t len, Error **err)
{
	while (len) {
		ssize_t put = pwrite(fd, data, len, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return error_set_errno(err, errno, "write a copy of the disk");
		data += put;
		offset += (uint64_t)put;
		len -= (size_t)put;
	}
	return 0;
}

/* What is not zero of the cluster; nothing beyond the end. */
static int write_cluster(int fd, uint64_t offset, const uint8_t *data, uint64_t end, Error **err)
{
	size_t len = end - offset < QCOW2_CLUSTER ? (size_t)(end - offset) : QCOW2_CLUSTER;

	for (size_t at = 0; at < len;) {
		size_t stop = at;

		while (stop < len && !is_zero(data + stop))
			stop += QCOW2_SUBCLUSTER;
		if (stop == at) {
			at += QCOW2_SUBCLUSTER;
			continue;
		}
		if (write_run(fd, offset + at, data + at, (stop < len ? stop : len) - at, err) < 0)
			return -1;
		at = stop;
	}
	return 0;
}

int qcow2_copy_out(StoragePool *pool, const char *volume, int fd, FsProgress progress, void *arg,
		   Error **err)
{
	auto_qcow2_chain Qcow2Chain chain = { 0 };
	auto_free uint8_t *data = xmalloc(QCOW2_CLUSTER);
	uint64_t size, count;

	if (open_chain(pool, volume, &chain, err) < 0)
		return -1;
	size = chain.layers[0].size_bytes;
	count = qcow2_clusters(size);
	if (ftruncate(fd, (off_t)size) < 0)
		return error_set_errno(err, errno, "write a copy of the disk");
	for (uint64_t i = 0; i < count; i++) {
		int has_data = qcow2_chain_read(&chain, 0, i, data, err);

		if (has_data < 0 ||
		    (has_data && write_cluster(fd, i * QCOW2_CLUSTER, data, size, err) < 0))
			return -1;
		if (i % CLUSTERS_PER_STEP)
			continue;
		if (cancel_check(err) < 0)
			return -1;
		if (progress)
			progress(arg, i * QCOW2_CLUSTER, size);
	}
	return 0;
}

/* A cluster as the file has it; zeroes beyond its end. 1: there may be something, 0: it is a hole. */
static int read_file(int fd, uint64_t offset, uint8_t *data, Error **err)
{
	off_t next = lseek(fd, (off_t)offset, SEEK_DATA);

	memset(data, 0, QCOW2_CLUSTER);
	if (next < 0 ? errno == ENXIO : (uint64_t)next >= offset + QCOW2_CLUSTER)
		return 0;
	for (size_t done = 0; done < QCOW2_CLUSTER;) {
		ssize_t got = pread(fd, data + done, QCOW2_CLUSTER - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(err, errno, "read a copy of the disk");
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return 1;
}

/* Put what differs between the file's cluster and the layers below the volume. */
static int put_difference(Qcow2Writer *writer, Qcow2Chain *chain, int fd, uint64_t number,
			  uint8_t *want, uint8_t *below, Error **err)
{
	uint32_t has = 0, cleared = 0;
	int in_file = read_file(fd, number * QCOW2_CLUSTER, want, err);
	int in_layers = in_file < 0 ? -1 : qcow2_chain_read(chain, 1, number, below, err);

	if (in_layers < 0)
		return -1;
	if (!in_file && !in_layers)
		return 0;
	for (unsigned i = 0; i < QCOW2_SUBS; i++) {
		const uint8_t *sub = want + i * QCOW2_SUBCLUSTER;

		if (memcmp(sub, below + i * QCOW2_SUBCLUSTER, QCOW2_SUBCLUSTER) == 0)
			continue;
		if (is_zero(sub))
			cleared |= 1U << i;
		else
			has |= 1U << i;
	}
	return qcow2_writer_put(writer, number, want, has, cleared, err);
}

static int write_difference(Qcow2Chain *chain, int fd, int to_fd, Error **err)
{
	auto_qcow2_writer Qcow2Writer writer = { 0 };
	auto_free uint8_t *want = xmalloc(QCOW2_CLUSTER);
	auto_free uint8_t *below = xmalloc(QCOW2_CLUSTER);
	uint64_t size = chain->layers[0].size_bytes, count = qcow2_clusters(size);

	qcow2_writer_begin(&writer, to_fd, size, chain->layers[0].header.backing);
	for (uint64_t i = 0; i < count; i++) {
		if (put_difference(&writer, chain, fd, i, want, below, err) < 0 ||
		    (i % CLUSTERS_PER_STEP == 0 && cancel_check(err) < 0))
			return -1;
	}
	return qcow2_writer_finish(&writer, err);
}

int qcow2_copy_in(StoragePool *pool, const char *volume, int fd, Error **err)
{
	auto_qcow2_volume Qcow2Volume found = { 0 };
	auto_qcow2_chain Qcow2Chain chain = { 0 };
	auto_free char *path = NULL;
	auto_free char *next = NULL;
	auto_fd next_fd = -1;

	if (qcow2_find(pool, volume, &found, err) < 0 ||
	    qcow2_chain_open(pool->dir, found.file, &chain, err) < 0)
		return -1;
	if (found.is_sealed || chain.count < 2)
		return error_set(err, ERR_FAILED, "the disk '%s' is sealed", volume);
	path = path_join(pool->dir, found.file);
	next = xasprintf("%s/%s" QCOW2_NEXT, pool->dir, volume);
	next_fd = open(next, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (next_fd < 0)
		return error_set_errno(err, errno, "write disk '%s'", next);
	if (failpoint("storage.qcow2.save", err) == 0 &&
	    write_difference(&chain, fd, next_fd, err) == 0 &&
	    fs_sync_fd(next_fd, next, err) == 0 && fs_rename(next, path, err) == 0)
		return fs_sync_path(pool->dir, err);
	(void)unlink(next);
	return -1;
}
