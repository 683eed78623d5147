/*
 * The ZFS store as a whole: it is made, found again after a reboot, left, grown and trimmed.
 *
 * The dataset of an installation has a property that marks it, and nothing without that mark is ever
 * destroyed. A pool of ember's own in a file is destroyed with --purge; a device stays a pool.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/storages.h"
#include "storage/zfs.h"
#include "storage/zfs_dataset.h"
#include "storage/zfs_pool.h"
#include "storage/zvol.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

#define TRIM_TIMEOUT_MS (4LL * 60 * 60 * 1000)
/* Transactions until a freed block may be used again, and trimmed. */
#define TXG_DEFERRED	 3
#define STAT_BLOCK_BYTES 512

static int no_such_pool(const char *pool, Error **err)
{
	error_set(err, ERR_NOT_FOUND, "zfs pool '%s' does not exist", pool);
	return error_hint(err,
			  "name the device to make it on: ember init --pool %s --device /dev/DISK",
			  pool);
}

/* A pool of that name is imported: is it where the site says? */
static int check_place(const StorageSite *site, const char *pool, Error **err)
{
	auto_free char *path = backing_path(site);
	auto_free char *vdev = NULL;

	if (zfs_pool_find_vdev(pool, path, &vdev, err) < 0)
		return -1;
	if (vdev)
		return 0;
	error_set(err, ERR_EXISTS, "there is a zfs pool '%s' already, and it is not on '%s'", pool,
		  path);
	return error_hint(err, "use it as it is: ember init --pool %s", pool);
}

/* Import it, or make it; a file that is made here and does not become a pool goes again. */
static int make_own_pool(const StorageSite *site, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	auto_free char *path = backing_path(site);
	auto_free char *dir = path_dirname(path);
	int found = backing_open(site, &backing, err);
	int ours;

	if (found < 0)
		return -1;
	if (!found &&
	    (fs_mkdir_all(dir, 0700, err) < 0 || backing_create(site, &backing, err) < 0 ||
	     backing_commit(site, &backing, err) < 0)) {
		(void)backing_remove_temporary(site, NULL);
		return -1;
	}
	ours = zfs_pool_recognise(site, &backing, err);
	if (ours > 0) {
		backing_release(&backing); /* bring_in takes the lock itself */
		return zfs_pool_bring_in(site, err);
	}
	if (ours == 0 && zfs_pool_create(site, &backing, err) == 0)
		return 0;
	if (!found)
		(void)fs_remove(backing.path, NULL);
	return -1;
}

static int make_pool(const StorageSite *site, Error **err)
{
	auto_free char *pool = zfs_pool_name(site);
	int there = zfs_pool_is_there(pool, err);

	if (there < 0)
		return -1;
	if (!zfs_pool_is_own(site))
		return there ? 0 : no_such_pool(pool, err);
	return there ? check_place(site, pool, err) : make_own_pool(site, err);
}

static int zfs_init(const StorageSite *site, bool *out_adopted, Error **err)
{
	bool adopted = false;

	if (zfs_require_root("only root can make a zfs store", err) < 0)
		return -1;
	if (make_pool(site, err) < 0 || zfs_dataset_make(site, &adopted, err) < 0)
		return error_wrap(err, "make the zfs store");
	*out_adopted = adopted;
	return 0;
}

/* The file that a pool of ours lives in. Owned; NULL: it is on a device, or somebody else's. */
static char *host_file_of(const StorageSite *site)
{
	auto_free char *path = zfs_pool_is_own(site) ? backing_path(site) : NULL;
	struct stat st;

	return path && stat(path, &st) == 0 && S_ISREG(st.st_mode) ? steal(&path) : NULL;
}

static int zfs_open(const StorageSite *site, StoragePool **out_pool, Error **err)
{
	auto_free char *dataset = NULL;
	StoragePool *pool;

	if (zfs_dataset_name(site, &dataset, err) < 0 || zfs_dataset_find(site, dataset, err) < 0)
		return error_wrap(err, "open the zfs store");
	pool = xcalloc(1, sizeof(*pool));
	pool->pool = zfs_pool_name(site);
	pool->dataset = steal(&dataset);
	pool->store_dir = xstrdup(site->store_dir);
	pool->host_file = host_file_of(site);
	*out_pool = pool;
	return 0;
}

static void zfs_close(StoragePool *pool)
{
	if (!pool)
		return;
	free(pool->pool);
	free(pool->dataset);
	free(pool->store_dir);
	free(pool->host_file);
	free(pool);
}

/* A file is of our own making and goes whole; the pool in it is of this installation, or there is none yet. */
static int purge_file(const StorageSite *site, const char *pool, bool is_imported, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;

	if (is_imported && zfs_insist(err, "zpool", "destroy", pool, NULL) < 0)
		return -1;
	if (backing_remove_temporary(site, err) < 0 || backing_open(site, &backing, err) < 0)
		return -1;
	if (backing.fd < 0)
		return 0;
	return zfs_pool_recognise(site, &backing, err) < 0 ? -1 : fs_remove(backing.path, err);
}

/* Is the site's pool imported? One on another file or device that only has its name is nobody's business here. Without the
 * kernel module no pool is. */
static int is_imported(const StorageSite *site, const char *pool, Error **err)
{
	auto_free char *path = backing_path(site);
	auto_free char *vdev = NULL;
	auto_error cause = NULL;
	int there = zfs_pool_is_there(pool, &cause);

	if (there < 0 && error_code(cause) == ERR_UNSUPPORTED)
		return 0;
	if (there < 0)
		error_move(err, &cause);
	if (there <= 0 || !zfs_pool_is_own(site))
		return there;
	return zfs_pool_find_vdev(pool, path, &vdev, err) < 0 ? -1 : vdev != NULL;
}

static int export_pool(const char *pool, Error **err)
{
	return failpoint("storage.zfs.export", err) < 0
		       ? -1
		       : zfs_insist(err, "zpool", "export", pool, NULL);
}

static int zfs_deinit(const StorageSite *site, bool purge, Error **err)
{
	auto_free char *pool = zfs_pool_name(site);
	auto_free char *file = host_file_of(site);
	int there = is_imported(site, pool, err);

	if (there < 0)
		return -1;
	if ((there || file) && zfs_require_root("only root can let go of a zfs store", err) < 0)
		return -1;
	if (!purge)
		return there && file ? export_pool(pool, err) : 0;
	if (failpoint("storage.zfs.purge", err) < 0)
		return -1;
	if (file ? purge_file(site, pool, there, err) < 0
		 : there && zfs_dataset_purge(site, err) < 0)
		return -1;
	(void)rmdir(site->store_dir);
	return 0;
}

static int zfs_capacity(StoragePool *pool, StorageCapacity *out_capacity, Error **err)
{
	auto_command Command cmd = { 0 };
	char *fields[ZFS_FIELDS_MAX];
	StorageCapacity capacity;
	uint64_t host_free;
	char *text;

	if (zfs_ask(&cmd, err, "zfs", "list", "-Hp", "-o", "used,available", pool->dataset, NULL) <
	    0)
		return -1;
	text = cmd.output.text;
	if (!zfs_next_row(&text, fields))
		return error_set(err, ERR_FAILED, "zfs says nothing about '%s'", pool->dataset);
	capacity.free_bytes = zfs_figure(fields[1]);
	capacity.total_bytes = zfs_figure(fields[0]) + capacity.free_bytes;
	if (pool->host_file) {
		if (fs_free_bytes(pool->host_file, &host_free, err) < 0)
			return -1;
		if (host_free < capacity.free_bytes)
			capacity.free_bytes = host_free;
	}
	*out_capacity = capacity;
	return 0;
}

static int refuse_growth(const StorageSite *site, Error **err)
{
	error_set(err, ERR_UNSUPPORTED, "the zfs pool '%s' is not ember's to grow", site->pool);
	return error_hint(err, "give it another device: zpool add %s /dev/DISK", site->pool);
}

/* A file is made as large; a device has its size, and the pool takes what it has. */
static int grow_backing(const Backing *backing, uint64_t size_bytes, Error **err)
{
	if (backing->is_device && size_bytes > backing->size_bytes)
		return error_set(err, ERR_USAGE, "the device '%s' has %llu MiB, and no more",
				 backing->path, (unsigned long long)backing->size_bytes >> 20);
	if (!backing->is_device && size_bytes < backing->size_bytes)
		return error_set(err, ERR_USAGE, "a store cannot shrink: '%s' has %llu MiB",
				 backing->path, (unsigned long long)backing->size_bytes >> 20);
	if (backing->is_device || size_bytes == backing->size_bytes)
		return 0;
	if (failpoint("storage.zfs.grow.file", err) < 0)
		return -1;
	if (size_bytes > INT64_MAX || ftruncate(backing->fd, (off_t)size_bytes) < 0)
		return error_set_errno(err, size_bytes > INT64_MAX ? EFBIG : errno, "grow '%s'",
				       backing->path);
	return fs_sync_fd(backing->fd, backing->path, err);
}

static int zfs_grow(const StorageSite *site, uint64_t size_bytes, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	auto_free char *pool = zfs_pool_name(site);
	auto_free char *vdev = NULL;

	if (!zfs_pool_is_own(site))
		return refuse_growth(site, err);
	if (zfs_require_root("only root can grow a zfs store", err) < 0 ||
	    zfs_pool_bring_in(site, err) < 0 || backing_open(site, &backing, err) < 0 ||
	    zfs_pool_find_vdev(pool, backing.path, &vdev, err) < 0)
		return -1;
	if (!vdev)
		return error_set(err, ERR_STATE, "the zfs pool '%s' is not on '%s'", pool,
				 backing.path);
	/* A growth that was cut off here goes on when it is asked for again. */
	if (grow_backing(&backing, size_bytes, err) < 0 || failpoint("storage.zfs.grow", err) < 0)
		return -1;
	return zfs_do(err, "zpool", "online", "-e", pool, vdev, NULL);
}

/* What the pool takes from its host: blocks of its file, or what is allocated on its devices. */
static int taken_bytes(const StoragePool *pool, uint64_t *out_bytes, Error **err)
{
	auto_command Command cmd = { 0 };
	char *fields[ZFS_FIELDS_MAX];
	struct stat st;
	char *text;

	if (pool->host_file && stat(pool->host_file, &st) == 0) {
		*out_bytes = (uint64_t)st.st_blocks * STAT_BLOCK_BYTES;
		return 0;
	}
	if (zfs_ask(&cmd, err, "zpool", "list", "-Hp", "-o", "allocated", pool->pool, NULL) < 0)
		return -1;
	text = cmd.output.text;
	*out_bytes = zfs_next_row(&text, fields) ? zfs_figure(fields[0]) : 0;
	return 0;
}

static int zfs_trim(StoragePool *pool, StorageTrim *out_trim, Error **err)
{
	auto_command Command cmd = { 0 };
	StorageTrim trim;

	/* What was destroyed a moment ago is freed in the background, and two transactions later. */
	if (zfs_sweep(pool, /* volume= */ "", err) < 0 ||
	    zfs_do(err, "zpool", "wait", "-t", "free", pool->pool, NULL) < 0)
		return -1;
	for (int i = 0; i < TXG_DEFERRED; i++)
		if (zfs_do(err, "zpool", "sync", pool->pool, NULL) < 0)
			return -1;
	if (taken_bytes(pool, &trim.before_bytes, err) < 0 ||
	    failpoint("storage.zfs.trim", err) < 0 || zfs_command(&cmd, "zpool", err) < 0)
		return -1;
	cmd.is_undo = false;
	command_add(&cmd, "trim");
	command_add(&cmd, "-w");
	command_add(&cmd, pool->pool);
	if (zfs_run_for(&cmd, TRIM_TIMEOUT_MS, err) < 0 ||
	    taken_bytes(pool, &trim.after_bytes, err) < 0)
		return -1;
	*out_trim = trim;
	return 0;
}

static char *zfs_path(const StorageSite *site, const char *volume)
{
	auto_free char *dataset = NULL;

	if (zfs_dataset_name(site, &dataset, NULL) < 0)
		return NULL;
	return zvol_path(dataset, volume);
}

static int zfs_check(const StorageSite *site, char **out_reason, Error **err)
{
	auto_free char *pool = zfs_pool_name(site);
	auto_free char *path = backing_path(site);
	int there = zfs_pool_is_there(pool, err);

	if (there)
		return there;
	if (!zfs_pool_is_own(site))
		*out_reason =
			xasprintf("zfs pool '%s' is not imported (zpool import %s)", pool, pool);
	else if (!fs_exists(path))
		*out_reason = xasprintf("'%s' is missing", path);
	else
		*out_reason =
			xasprintf("the zfs pool in '%s' is not imported; the next command that "
				  "needs it imports it (as root)",
				  path);
	return 0;
}

/* What is already there may speak against it. */
static int look_at_place(const StorageSite *site, const char *pool, int pool_is_there, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;

	if (!zfs_pool_is_own(site))
		return pool_is_there ? 0 : no_such_pool(pool, err);
	if (pool_is_there)
		return check_place(site, pool, err);
	if (backing_open(site, &backing, err) < 0)
		return -1;
	return backing.fd < 0 ? 0 : zfs_pool_recognise(site, &backing, err);
}

static int zfs_probe(const StorageSite *site, char **out_reason, Error **err)
{
	auto_free char *pool = zfs_pool_name(site);
	auto_free char *path = backing_path(site);
	auto_free char *dataset = NULL;
	auto_error cause = NULL;
	int there;

	if (zfs_dataset_name(site, &dataset, err) < 0)
		return -1;
	if (geteuid() != 0) {
		*out_reason = xstrdup("only root can make zfs volumes");
		return 0;
	}
	there = zfs_pool_is_there(pool, &cause);
	if (there < 0 || zfs_do(&cause, "zfs", "version", NULL) < 0) {
		*out_reason = backing_reason(cause);
		return 0;
	}
	if (look_at_place(site, pool, there, &cause) < 0) {
		/* A place that the user named is looked at for his sake: it is his mistake, or ours to explain. */
		if (site->path || site->pool) {
			error_move(err, &cause);
			return -1;
		}
		*out_reason = backing_reason(cause);
		return 0;
	}
	*out_reason = zfs_pool_is_own(site)
			      ? xasprintf("the zfs pool '%s' of ember's own in '%s'", pool, path)
			      : xasprintf("volumes in '%s' of the zfs pool '%s'",
					  dataset + strlen(pool) + 1, pool);
	return 1;
}

static const char *const programs[] = { "zfs", "zpool", NULL };

const StorageBackend zfs_storage = {
	.name = "zfs",
	.summary = "volumes of a ZFS pool, cloned by its snapshots",
	.needs_root = true,
	.has_own_store = true,
	.has_pool = true,
	.programs = programs,
	.probe = zfs_probe,
	.init = zfs_init,
	.open = zfs_open,
	.close = zfs_close,
	.deinit = zfs_deinit,
	.import_path = zfs_import_path,
	.import_commit = zfs_import_commit,
	.clone = zfs_clone,
	.seal = zfs_seal,
	.destroy = zfs_destroy,
	.resize = zfs_resize,
	.attach = zfs_attach,
	.list = zfs_list,
	.path = zfs_path,
	.size = zfs_size,
	.capacity = zfs_capacity,
	.usage = zfs_usage,
	.grow = zfs_grow,
	.trim = zfs_trim,
	.check = zfs_check,
};
