/*
 * Cloning by links. No data is copied, and no program is run: it is a matter of two headers.
 *
 * From a sealed volume it is an overlay on its layer, which is a second name of the same file. A volume that may be written
 * to becomes a layer first: the file gets the name TO.origin.qcow2, and an empty overlay on that takes its place. At each
 * instant the source is whole, either its old self or that overlay, and destroying `to` takes away the rest.
 *
 * A hypervisor that has the source open goes on writing to the layer until it is told to use the overlay; in between, and
 * when that fails, the layer is what changes and the source is an overlay without anything in it, which is the same disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "storage/qcow2.h"
#include "storage/qcow2_layers.h"
#include "storage/qcow2_write.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* A clone under way. */
typedef struct Making {
	const StoragePool *pool;
	const char *to;
	uint64_t size_bytes; /* of the clone */
	Qcow2Chain source;
} Making;

static void release_making(Making *making)
{
	qcow2_chain_release(&making->source);
}

static int check_new(const StoragePool *pool, const char *to, Error **err)
{
	static const char *const suffixes[] = { QCOW2_OVERLAY, QCOW2_RAW };

	if (storage_check_name(to, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
		if (qcow2_file_exists(pool->dir, to, suffixes[i]))
			return error_set(err, ERR_EXISTS, "the disk '%s/%s%s' exists already",
					 pool->dir, to, suffixes[i]);
	return 0;
}

static int write_overlay(int fd, uint64_t size_bytes, const char *backing, Error **err)
{
	auto_qcow2_writer Qcow2Writer writer = { 0 };

	qcow2_writer_begin(&writer, fd, size_bytes, backing);
	return qcow2_writer_finish(&writer, err);
}

/* An empty overlay, durable but for its name. */
static int make_overlay(const StoragePool *pool, const char *file, uint64_t size_bytes,
			const char *backing, Error **err)
{
	auto_free char *path = path_join(pool->dir, file);
	auto_fd fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return error_set_errno(err, errno, "clone disk '%s'", path);
	if (write_overlay(fd, size_bytes, backing, err) == 0 && fs_sync_fd(fd, path, err) == 0)
		return 0;
	(void)unlink(path);
	return error_wrap(err, "clone disk '%s'", path);
}

/* A second name of the file, unless it has it already. */
static int add_layer(const StoragePool *pool, const char *file, const char *layer, bool *out_added,
		     Error **err)
{
	auto_free char *from = path_join(pool->dir, file);
	auto_free char *to = path_join(pool->dir, layer);

	*out_added = link(from, to) == 0;
	if (*out_added || (errno == EEXIST && qcow2_is_same(pool, file, layer)))
		return 0;
	return error_set_errno(err, errno, "make a layer of disk '%s'", from);
}

static int make_clone(const Making *making, const char *backing, Error **err)
{
	const StoragePool *pool = making->pool;
	auto_free char *file = qcow2_file(making->to, QCOW2_OVERLAY);

	if (making->size_bytes > making->source.layers[0].size_bytes &&
	    failpoint("storage.clone.grow", err) < 0)
		return -1;
	return make_overlay(pool, file, making->size_bytes, backing, err);
}

/* The clone is there; its name is not on the disk yet. */
static int finish_clone(const Making *making, bool sync_dir, Error **err)
{
	const StoragePool *pool = making->pool;
	auto_free char *path = xasprintf("%s/%s" QCOW2_OVERLAY, pool->dir, making->to);

	if (failpoint("storage.clone.sync", err) == 0 &&
	    ((pool->sync_brings_name && !sync_dir) || fs_sync_path(pool->dir, err) == 0))
		return 0;
	(void)unlink(path);
	return -1;
}

static int clone_sealed(const Making *making, const char *from, const Qcow2Volume *source,
			Error **err)
{
	auto_free char *layer = qcow2_file(from, source->is_raw ? QCOW2_LAYER_RAW : QCOW2_LAYER);
	bool added;

	if (add_layer(making->pool, source->file, layer, &added, err) < 0 ||
	    make_clone(making, layer, err) < 0)
		return -1;
	return finish_clone(making, added, err);
}

/* The overlay on the layer becomes the source. Durable when it returns, but for what the hypervisor still has to flush. */
static int switch_source(const Making *making, const Qcow2Volume *source, const char *layer,
			 Error **err)
{
	const StoragePool *pool = making->pool;
	auto_free char *next = qcow2_file(making->to, QCOW2_NEXT);
	auto_free char *next_path = path_join(pool->dir, next);
	auto_free char *source_path = path_join(pool->dir, source->file);
	auto_free char *layer_path = path_join(pool->dir, layer);

	if (make_overlay(pool, next, making->source.layers[0].size_bytes, layer, err) < 0)
		return -1;
	if (failpoint("storage.clone.sync", err) < 0 || fs_sync_path(pool->dir, err) < 0 ||
	    failpoint("storage.qcow2.switch", err) < 0 ||
	    fs_rename(next_path, source_path, err) < 0) {
		(void)unlink(next_path);
		return -1;
	}
	(void)chmod(layer_path, 0444);
	return failpoint("storage.qcow2.switched", err) < 0 ? -1 : fs_sync_path(pool->dir, err);
}

static int tell_hypervisor(const Making *making, const Qcow2Volume *source, const StorageLive *live,
			   Error **err)
{
	auto_storage_disk StorageDisk overlay = {
		.path = path_join(making->pool->dir, source->file), .format = DISK_QCOW2
	};

	if (!live)
		return 0;
	if (failpoint("storage.qcow2.live", err) < 0)
		return -1;
	return live->switch_to(live->arg, &overlay, err);
}

static int clone_writable(const Making *making, const Qcow2Volume *source, const StorageLive *live,
			  Error **err)
{
	const StoragePool *pool = making->pool;
	auto_free char *layer = qcow2_file(making->to, QCOW2_ORIGIN);
	auto_free char *layer_path = path_join(pool->dir, layer);
	auto_free char *clone = qcow2_file(making->to, QCOW2_OVERLAY);
	auto_free char *clone_path = path_join(pool->dir, clone);
	bool added;

	/* Another file of that name is what a clone of the same name has left to its source. */
	if (fs_exists(layer_path))
		return error_set(err, ERR_EXISTS, "the disk '%s' exists already", layer_path);
	if (add_layer(pool, source->file, layer, &added, err) < 0)
		return -1;
	if (make_clone(making, layer, err) == 0 && switch_source(making, source, layer, err) == 0 &&
	    tell_hypervisor(making, source, live, err) == 0)
		return 0;
	(void)unlink(clone_path);
	/* From the switch on the source needs it. */
	if (qcow2_is_same(pool, source->file, layer))
		(void)unlink(layer_path);
	return -1;
}

/* A layer more, at most. */
static int check_depth(const Making *making, Error **err)
{
	if (making->source.count < QCOW2_CHAIN_MAX)
		return 0;
	error_set(err, ERR_UNSUPPORTED, "the disk has %zu layers, and cannot have more",
		  making->source.count);
	return error_hint(err,
			  "make fewer of them, while the vm is stopped: ember storage optimize");
}

static int clone_locked(Making *making, const char *from, uint64_t size_bytes,
			const StorageLive *live, Error **err)
{
	auto_qcow2_volume Qcow2Volume source = { 0 };
	const StoragePool *pool = making->pool;
	const Qcow2Layer *top;

	if (check_new(pool, making->to, err) < 0 || qcow2_find(pool, from, &source, err) < 0 ||
	    qcow2_chain_open(pool->dir, source.file, &making->source, err) < 0)
		return -1;
	top = &making->source.layers[0];
	making->size_bytes = size_bytes > top->size_bytes ? size_bytes : top->size_bytes;
	if (qcow2_check_size(making->size_bytes, err) < 0 || failpoint("storage.clone", err) < 0)
		return -1;
	/* What is in the caches of a hypervisor is not in the file. */
	if (!source.is_sealed && !live && qcow2_chain_is_untouched(&making->source))
		return make_clone(making, top->header.backing, err) < 0
			       ? -1
			       : finish_clone(making, false, err);
	if (check_depth(making, err) < 0)
		return -1;
	return source.is_sealed ? clone_sealed(making, from, &source, err)
				: clone_writable(making, &source, live, err);
}

int qcow2_clone(StoragePool *pool, const char *from, const char *to, uint64_t size_bytes,
		const StorageLive *live, Error **err)
{
	CLEANUP(release_making) Making making = { .pool = pool, .to = to };
	auto_qcow2_volume Qcow2Volume source = { 0 };
	auto_fd lock = -1;

	/* What is sealed stays so: its clones need not wait for each other. */
	if (qcow2_find(pool, from, &source, err) < 0 ||
	    qcow2_lock(pool->dir, !source.is_sealed, &lock, err) < 0)
		return -1;
	return clone_locked(&making, from, size_bytes, live, err);
}
