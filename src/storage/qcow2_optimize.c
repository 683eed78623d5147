/*
 * Fewer layers: what was put on the image long ago becomes one.
 *
 * Not the volume is written anew but one of its layers, with what the layers below it have as well, down to the image. It
 * takes the name of the old one, and since it holds the same, everybody who names it sees no difference; not even a VM
 * that is started meanwhile does. The work is done in ID.flat, which goes with whoever opens the volume: that ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/qcow2.h"
#include "storage/qcow2_layers.h"
#include "storage/qcow2_write.h"
#include "util/cancel.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* Up to so many files below a volume nobody feels. */
#define DEPTH_MAX 4
/* The layer that is written anew, counted from the volume, which is 0. What was cloned last is left alone: it is small, and
 * the next few clones find room for theirs. */
#define DEPTH_FLAT 2

#define CLUSTERS_PER_STEP 64

/* QEMU's locks on an image (block/file-posix.c): who may write to it has a shared lock on this byte. */
#define QEMU_WRITER_BYTE 101

typedef struct Flattening {
	const StoragePool *pool;
	Qcow2Chain chain;
	char *path; /* of ID.flat */
	int fd;
} Flattening;

static void release_flattening(Flattening *work)
{
	/* Ours as long as nobody removed it, or it has become the layer. */
	if (work->fd >= 0 && work->path)
		(void)unlink(work->path);
	close_fd(&work->fd);
	free(work->path);
	qcow2_chain_release(&work->chain);
}

/* A hypervisor that was not told of its new overlay goes on writing to a layer. */
static bool is_written_to(int fd)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = QEMU_WRITER_BYTE, .l_len = 1
	};

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* 1: it is ours, 0: somebody is at it already. */
static int begin(Flattening *work, Error **err)
{
	int fd = open(work->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat ours, named;

	if (fd < 0)
		return error_set_errno(err, errno, "write disk '%s'", work->path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &ours) < 0 ||
	    stat(work->path, &named) < 0 || ours.st_ino != named.st_ino) {
		(void)close(fd);
		return 0;
	}
	work->fd = fd;
	/* What one that was killed has left. */
	return ftruncate(fd, 0) < 0 ? error_set_errno(err, errno, "write disk '%s'", work->path)
				    : 1;
}

static bool is_ended(const Flattening *work)
{
	struct stat st;

	return fstat(work->fd, &st) < 0 || st.st_nlink == 0;
}

/* What the layers between have of the cluster; the rest is as in the lowest one. */
static int put_cluster(Flattening *work, Qcow2Writer *writer, uint64_t number, uint8_t *data,
		       Error **err)
{
	Qcow2Chain *chain = &work->chain;
	const size_t last = chain->count - 1;
	Qcow2Piece pieces[QCOW2_SUBS];
	uint32_t has = 0, cleared = 0;

	if (qcow2_chain_map(chain, DEPTH_FLAT, number, pieces, err) < 0)
		return -1;
	for (unsigned i = 0; i < QCOW2_SUBS; i++) {
		uint64_t offset = number * QCOW2_CLUSTER + i * QCOW2_SUBCLUSTER;

		if (pieces[i].kind == QCOW2_NOWHERE || pieces[i].layer == last)
			continue;
		if (pieces[i].kind == QCOW2_DATA)
			has |= 1U << i;
		else if (offset < chain->layers[last].size_bytes)
			cleared |= 1U << i;
	}
	if (has && qcow2_chain_read(chain, DEPTH_FLAT, number, data, err) < 0)
		return -1;
	return qcow2_writer_put(writer, number, data, has, cleared, err);
}

/* 1: written, 0: ended. */
static int write_flat(Flattening *work, Error **err)
{
	auto_qcow2_writer Qcow2Writer writer = { 0 };
	auto_free uint8_t *data = xmalloc(QCOW2_CLUSTER);
	const Qcow2Chain *chain = &work->chain;
	uint64_t size = chain->layers[DEPTH_FLAT].size_bytes;
	uint64_t count = qcow2_clusters(size);

	qcow2_writer_begin(&writer, work->fd, size, chain->layers[chain->count - 1].file);
	for (uint64_t i = 0; i < count; i++) {
		if (i % CLUSTERS_PER_STEP == 0) {
			if (cancel_check(err) < 0)
				return -1;
			if (is_ended(work))
				return 0;
		}
		if (put_cluster(work, &writer, i, data, err) < 0)
			return -1;
	}
	return qcow2_writer_finish(&writer, err) < 0 ? -1 : 1;
}

/* Is the layer still the file that was read? */
static bool is_unchanged(const Flattening *work, const char *path)
{
	struct stat read, named;

	return fstat(work->chain.layers[DEPTH_FLAT].fd, &read) == 0 && stat(path, &named) == 0 &&
	       read.st_ino == named.st_ino;
}

/* A sealed volume is another name of its layer, and has to become the new file too. */
static int replace_twin(const Flattening *work, const char *layer, const char *layer_path,
			const Qcow2Volume *twin, Error **err)
{
	auto_free char *twin_path = path_join(work->pool->dir, twin->file);

	if (qcow2_is_same(work->pool, twin->file, layer))
		return 0;
	if (link(layer_path, work->path) < 0)
		return error_set_errno(err, errno, "link disk '%s'", work->path);
	return fs_rename(work->path, twin_path, err);
}

static int drop_layers(const Flattening *work, Error **err)
{
	const StoragePool *pool = work->pool;
	auto_qcow2_links Qcow2Links links = { 0 };
	auto_strv Strv unused = { 0 };

	if (qcow2_links_read(pool->dir, &links, err) < 0)
		return -1;
	for (size_t i = DEPTH_FLAT + 1; i + 1 < work->chain.count; i++) {
		const char *file = work->chain.layers[i].file;

		if (qcow2_links_need(&links, file, &unused))
			break;
		strv_push(&unused, file);
	}
	return qcow2_remove(pool, &unused, err);
}

/* 1: the layer is the new one, 0: it was not to be. */
static int commit(Flattening *work, Error **err)
{
	const StoragePool *pool = work->pool;
	const char *layer = work->chain.layers[DEPTH_FLAT].file;
	auto_free char *layer_path = path_join(pool->dir, layer);
	auto_free char *owner = qcow2_file_owner(layer);
	auto_qcow2_volume Qcow2Volume twin = { 0 };
	auto_fd lock = -1;
	bool has_twin;

	if (qcow2_lock(pool->dir, /* exclusive= */ true, &lock, err) < 0)
		return -1;
	if (!is_unchanged(work, layer_path))
		return 0;
	has_twin = owner && qcow2_find(pool, owner, &twin, NULL) == 0 &&
		   qcow2_is_same(pool, twin.file, layer);
	if (failpoint("storage.qcow2.optimize.commit", err) < 0)
		return -1;
	if (rename(work->path, layer_path) < 0)
		return errno == ENOENT ? 0
				       : error_set_errno(err, errno, "replace '%s'", layer_path);
	if ((has_twin && replace_twin(work, layer, layer_path, &twin, err) < 0) ||
	    fs_sync_path(pool->dir, err) < 0 || failpoint("storage.qcow2.optimize.drop", err) < 0)
		return -1;
	return drop_layers(work, err) < 0 ? -1 : 1;
}

static int flatten(Flattening *work, Error **err)
{
	int written = write_flat(work, err);

	if (written <= 0)
		return written;
	if (fchmod(work->fd, 0444) < 0)
		return error_set_errno(err, errno, "seal disk '%s'", work->path);
	if (failpoint("storage.qcow2.optimize.sync", err) < 0 ||
	    fs_sync_fd(work->fd, work->path, err) < 0)
		return -1;
	return commit(work, err);
}

int qcow2_optimize(StoragePool *pool, const char *volume, void (*begun)(void *arg), void *arg,
		   bool *out_done, Error **err)
{
	CLEANUP(release_flattening) Flattening work = { .pool = pool, .fd = -1 };
	auto_qcow2_volume Qcow2Volume found = { 0 };
	int done;

	if (qcow2_find(pool, volume, &found, err) < 0 ||
	    qcow2_chain_open(pool->dir, found.file, &work.chain, err) < 0)
		return -1;
	*out_done = false;
	if (work.chain.count - 1 <= DEPTH_MAX || is_written_to(work.chain.layers[DEPTH_FLAT].fd) ||
	    is_written_to(work.chain.layers[1].fd))
		return 0;
	work.path = xasprintf("%s/%s" QCOW2_FLAT, pool->dir, volume);
	if (failpoint("storage.qcow2.optimize", err) < 0)
		return -1;
	done = begin(&work, err);
	if (done > 0) {
		if (begun)
			begun(arg);
		done = flatten(&work, err);
	}
	if (done < 0)
		return error_wrap(err, "make fewer layers of disk '%s'", volume);
	*out_done = done;
	return 0;
}
