/*
 * Stores of which the kernel makes the copies: a thin pool of the device mapper, in a sparse file (STATE/store.img) or on a
 * device. A volume is a block device that exists while it is attached.
 *
 * Formatting, activating and deleting happen under a lock on the file or device itself, as with managed filesystems; what
 * changes the volumes, under STATE/store/lock. Nothing stays behind a reboot but the store and the records of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/dm.h"
#include "storage/dm_thin.h"
#include "storage/storages.h"
#include "storage/superblock.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

/* What a new file may take from its host beyond its metadata. */
#define FORMAT_HOST_BYTES (256ULL << 20)

static int require_root(Error **err)
{
	if (geteuid() == 0)
		return 0;
	error_set(err, ERR_DENIED, "only root can use the device mapper");
	return error_hint(err, "run the command as root, for example with sudo");
}

static char *owner_of(const StorageSite *site)
{
	return xasprintf("ember-%.6s", site->instance_id);
}

/* Is it a store of this installation's? 1 yes, 0 it is empty, -1 it is something else. */
static int recognise(const StorageSite *site, const Backing *backing, ThinLabel *out_label,
		     Error **err)
{
	auto_free char *owner = owner_of(site);
	Superblock found;
	int labelled = thin_label_read(backing->fd, out_label, err);

	if (labelled < 0)
		return error_wrap(err, "look at '%s'", backing->path);
	if (labelled && !strcmp(out_label->owner, owner))
		return 1;
	if (labelled) {
		error_set(err, ERR_EXISTS, "'%s' is the store of another installation, '%s'",
			  backing->path, str_make_printable(out_label->owner));
		return error_hint(err, "name another place: ember init --storage dm-thin "
				       "--storage-path PATH");
	}
	if (superblock_read(backing->fd, backing->size_bytes, &found, err) < 0)
		return error_wrap(err, "look at '%s'", backing->path);
	if (!found.kind)
		return 0;
	if (!strcmp(found.label, owner) && strcmp(found.kind, "dm-thin") != 0) {
		error_set(err, ERR_EXISTS, "'%s' is a store of this installation, but on %s",
			  backing->path, found.kind);
		return error_hint(err, "take it over: ember init --storage %s", found.kind);
	}
	return backing_not_empty(backing, &found, err);
}

/* ---- making ---- */

static int write_label(const StorageSite *site, const Backing *backing, Error **err)
{
	auto_free ThinLabel *label = xcalloc(1, sizeof(*label));
	auto_free char *owner = owner_of(site);

	(void)snprintf(label->owner, sizeof(label->owner), "%s", owner);
	label->is_new = true;
	if (thin_label_grow(label, backing->size_bytes, err) < 0)
		return -1;
	return thin_label_write(backing->fd, label, err);
}

/* A metadata area that cannot be written, because the host's disk is full, would stop the whole pool: its room is taken
 * now. The data's is taken as it comes. */
static int reserve_metadata(const Backing *backing, const ThinLabel *label, Error **err)
{
	for (size_t i = 0; i < label->count; i++) {
		const ThinSegment *segment = &label->segments[i];
		int failed;

		if (segment->kind != THIN_METADATA)
			continue;
		failed = posix_fallocate(backing->fd, (off_t)segment->start_bytes,
					 (off_t)segment->length_bytes);
		if (failed)
			return error_set_errno(err, failed,
					       "make room for the store's metadata in '%s'",
					       backing->path);
	}
	return 0;
}

static int check_host_room(const char *dir, uint64_t bytes, Error **err)
{
	uint64_t free_bytes;

	if (fs_free_bytes(dir, &free_bytes, err) < 0)
		return -1;
	if (free_bytes >= bytes)
		return 0;
	error_set(err, ERR_FAILED,
		  "not enough space for the store at '%s': %llu MiB are free, %llu needed", dir,
		  (unsigned long long)free_bytes >> 20, (unsigned long long)bytes >> 20);
	return error_hint(err, "free some space, or name another place with --storage-path");
}

static int fill_file(const StorageSite *site, const Backing *backing, Error **err)
{
	auto_free ThinLabel *label = xcalloc(1, sizeof(*label));

	if (failpoint("storage.thin.label", err) < 0 || write_label(site, backing, err) < 0 ||
	    thin_label_read(backing->fd, label, err) < 0)
		return -1;
	return reserve_metadata(backing, label, err);
}

/* A new file, labelled under a temporary name. */
static int make_file(const StorageSite *site, Backing *out_backing, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	auto_free char *path = backing_path(site);
	auto_free char *dir = path_dirname(path);

	if (fs_mkdir_all(dir, 0700, err) < 0 || check_host_room(dir, FORMAT_HOST_BYTES, err) < 0 ||
	    backing_create(site, &backing, err) < 0)
		return -1;
	if (fill_file(site, &backing, err) < 0 || failpoint("storage.thin.label.commit", err) < 0 ||
	    backing_commit(site, &backing, err) < 0) {
		(void)backing_remove_temporary(site, NULL);
		return -1;
	}
	*out_backing = backing;
	backing = BACKING_NONE;
	return 0;
}

/* What the user gave: ours already, or empty and labelled in place. */
static int take(const StorageSite *site, const Backing *backing, bool *out_adopted, Error **err)
{
	auto_free ThinLabel *label = xcalloc(1, sizeof(*label));
	int ours = recognise(site, backing, label, err);

	if (ours < 0)
		return -1;
	*out_adopted = ours > 0 && !label->is_new;
	if (ours)
		return 0;
	if (backing->size_bytes < BACKING_MIN_BYTES)
		return error_set(err, ERR_USAGE, "'%s' is too small for a store: at least %llu MiB",
				 backing->path, BACKING_MIN_BYTES >> 20);
	if (failpoint("storage.thin.label.device", err) < 0)
		return -1;
	return write_label(site, backing, err);
}

static int bring_up(const StorageSite *site, const Backing *backing, Error **err)
{
	int active;

	if (fs_mkdir_all(site->store_dir, 0700, err) < 0)
		return -1;
	active = thin_pool_is_active(site, err);
	if (active)
		return active < 0 ? -1 : 0;
	return thin_pool_activate(site, backing, err);
}

static int dm_thin_init(const StorageSite *site, bool *out_adopted, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	bool adopted = false;
	int found;

	if (require_root(err) < 0)
		return -1;
	found = backing_open(site, &backing, err);
	if (found < 0 || (found == 0 && make_file(site, &backing, err) < 0) ||
	    (found > 0 && take(site, &backing, &adopted, err) < 0))
		return error_wrap(err, "make the thin pool");
	if (bring_up(site, &backing, err) < 0) {
		if (!found)
			(void)fs_remove(backing.path, NULL);
		return error_wrap(err, "make the thin pool");
	}
	*out_adopted = adopted;
	return 0;
}

/* ---- opening ---- */

static int open_backing(const StorageSite *site, Backing *out_backing, Error **err)
{
	auto_free char *path = NULL;
	int found = backing_open(site, out_backing, err);

	if (found)
		return found < 0 ? -1 : 0;
	path = backing_path(site);
	error_set(err, ERR_NOT_FOUND, "the store '%s' is missing", path);
	return error_hint(err, "put it back, or begin anew: ember deinit --purge");
}

static int activate_on_demand(const StorageSite *site, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	auto_free ThinLabel *label = NULL;
	int active = thin_pool_is_active(site, err);
	int ours;

	if (active)
		return active < 0 ? -1 : 0;
	if (open_backing(site, &backing, err) < 0)
		return -1;
	/* Whoever held the lock before us may have done it. */
	active = thin_pool_is_active(site, err);
	if (active)
		return active < 0 ? -1 : 0;
	label = xcalloc(1, sizeof(*label));
	ours = recognise(site, &backing, label, err);
	if (ours == 0)
		return error_set(err, ERR_FAILED, "'%s' is empty: this is no store", backing.path);
	return ours < 0 ? -1 : bring_up(site, &backing, err);
}

static void dm_thin_close(StoragePool *pool)
{
	if (!pool)
		return;
	free(pool->dir);
	free(pool->instance);
	free(pool->backing);
	free(pool->pool);
	free(pool->number);
	free(pool);
}
#define auto_pool CLEANUP(close_pool)

static void close_pool(StoragePool **pool)
{
	dm_thin_close(*pool);
}

static int open_active(const StorageSite *site, StoragePool **out_pool, Error **err)
{
	auto_pool StoragePool *pool = xcalloc(1, sizeof(*pool));
	struct stat st;
	DmInfo info;

	pool->dir = xstrdup(site->store_dir);
	pool->instance = xstrdup(site->instance_id);
	pool->backing = backing_path(site);
	pool->in_file = stat(pool->backing, &st) == 0 && S_ISREG(st.st_mode);
	pool->pool = thin_device_name(site->instance_id, "pool");
	if (dm_info(pool->pool, &info, err) < 0)
		return -1;
	pool->number = xstrdup(info.number);
	*out_pool = steal(&pool);
	return 0;
}

/* A pool that met an error lets nobody write any more. As soon as no volume is open, it is taken down and up again, which
 * checks its metadata and lifts that. */
static int mend(const StorageSite *site, StoragePool *pool, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	auto_free char *text = NULL;
	ThinStatus status;
	int in_use;

	if (dm_status(pool->pool, &text, err) < 0)
		return -1;
	if (thin_status_parse(text, &status) && status.is_writable)
		return 0;
	/* In use, it stays as it is: each use of it will say so. */
	in_use = thin_pool_is_open(site, err);
	if (in_use)
		return in_use < 0 ? -1 : 0;
	if (open_backing(site, &backing, err) < 0 || thin_pool_deactivate(site, err) < 0)
		return -1;
	return thin_pool_activate(site, &backing, err);
}

static int dm_thin_open(const StorageSite *site, StoragePool **out_pool, Error **err)
{
	auto_pool StoragePool *pool = NULL;

	if (require_root(err) < 0)
		return -1;
	if (activate_on_demand(site, err) < 0 || open_active(site, &pool, err) < 0 ||
	    mend(site, pool, err) < 0)
		return error_wrap(err, "open the thin pool");
	dm_thin_close(steal(&pool));
	return open_active(site, out_pool, err);
}

/* ---- leaving ---- */

/* A file goes. A device stays labelled, but as if nothing had ever been on it. */
static int purge(const StorageSite *site, Backing *backing, Error **err)
{
	auto_free ThinLabel *label = xcalloc(1, sizeof(*label));
	int ours = recognise(site, backing, label, err);

	if (ours < 0)
		return error_wrap(err, "delete the store");
	if (!backing->is_device)
		return fs_remove(backing->path, err);
	if (ours == 0)
		return 0;
	label->is_new = true;
	return thin_label_write(backing->fd, label, err);
}

static int dm_thin_deinit(const StorageSite *site, bool with_purge, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	int found;

	if (require_root(err) < 0)
		return -1;
	found = backing_open(site, &backing, err);
	if (found < 0 || failpoint("storage.thin.deactivate", err) < 0 ||
	    (found && thin_pool_deactivate(site, err) < 0))
		return -1;
	if (!with_purge)
		return 0;
	if (failpoint("storage.thin.purge", err) < 0 || (found && purge(site, &backing, err) < 0) ||
	    backing_remove_temporary(site, err) < 0)
		return -1;
	return fs_remove_tree(site->store_dir, err);
}

/* ---- asking ---- */

/* Whoever may not ask the kernel sees the link that stands for the pool. */
static int dm_thin_check(const StorageSite *site, char **out_reason, Error **err UNUSED)
{
	auto_free char *name = thin_device_name(site->instance_id, "pool");
	auto_free char *link = dm_path(name);
	auto_free char *path = backing_path(site);

	if (!fs_exists(path)) {
		*out_reason = xasprintf("'%s' is missing", path);
		return 0;
	}
	if (access(link, F_OK) == 0)
		return 1;
	*out_reason = xasprintf("the pool of '%s' is not active; the next command that needs it "
				"activates it (as root)",
				path);
	return 0;
}

static const char *const programs[] = { "thin_check", "thin_ls", NULL };

static int dm_thin_check_place(const StorageSite *site, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	auto_free ThinLabel *label = xcalloc(1, sizeof(*label));

	if (backing_open(site, &backing, err) < 0)
		return -1;
	if (backing.fd < 0)
		return 0;
	return recognise(site, &backing, label, err) < 0 || thin_pool_is_active(site, err) < 0 ? -1
											       : 0;
}

static int dm_thin_probe(const StorageSite *site, char **out_reason, Error **err UNUSED)
{
	auto_free char *path = backing_path(site);
	auto_error obstacle = NULL;

	if (geteuid() != 0) {
		*out_reason = xstrdup("only root can use the device mapper");
		return 0;
	}
	for (const char *const *name = programs; *name; name++) {
		auto_free char *program = program_find_admin(*name);

		if (!program) {
			auto_free char *hint = program_install_hint(*name);

			*out_reason = xasprintf("'%s' is not installed (%s)", *name, hint);
			return 0;
		}
	}
	if (!dm_probe("thin-pool", out_reason))
		return 0;
	if (dm_thin_check_place(site, &obstacle) < 0) {
		*out_reason = backing_reason(obstacle);
		return 0;
	}
	*out_reason = xasprintf("a thin pool of ember's own in '%s'", path);
	return 1;
}

/* ---- growing ---- */

/* Make the file that long; a device must be so already. */
static int grow_backing(Backing *backing, uint64_t size_bytes, Error **err)
{
	if (size_bytes < backing->size_bytes && !backing->is_device)
		return error_set(err, ERR_USAGE, "a store cannot shrink: it has %llu MiB",
				 (unsigned long long)backing->size_bytes >> 20);
	if (size_bytes > backing->size_bytes && backing->is_device) {
		error_set(err, ERR_USAGE, "'%s' has no more than %llu MiB", backing->path,
			  (unsigned long long)backing->size_bytes >> 20);
		return error_hint(err, "make the device larger first, then again with --size %lluM",
				  (unsigned long long)backing->size_bytes >> 20);
	}
	if (size_bytes > INT64_MAX)
		return error_set(err, ERR_USAGE, "a store of %llu bytes is too large",
				 (unsigned long long)size_bytes);
	if (backing->is_device || size_bytes == backing->size_bytes)
		return 0;
	if (failpoint("storage.thin.grow.file", err) < 0)
		return -1;
	if (ftruncate(backing->fd, (off_t)size_bytes) < 0)
		return error_set_errno(err, errno, "grow '%s'", backing->path);
	backing->size_bytes = size_bytes;
	return fs_sync_fd(backing->fd, backing->path, err);
}

static int grow_label(const Backing *backing, uint64_t size_bytes, ThinLabel *label, Error **err)
{
	auto_free char *dir = path_dirname(backing->path);

	if (thin_label_end(label) + THIN_BLOCK_BYTES > size_bytes)
		return 0;
	if (thin_label_grow(label, size_bytes, err) < 0 ||
	    (!backing->is_device && (check_host_room(dir, THIN_RESERVE_BYTES, err) < 0 ||
				     reserve_metadata(backing, label, err) < 0)) ||
	    failpoint("storage.thin.grow.label", err) < 0)
		return -1;
	return thin_label_write(backing->fd, label, err);
}

/* The file, the label, the devices: whatever interrupts it, the same command again does the rest, and until then what there
 * was before goes on. */
static int dm_thin_grow(const StorageSite *site, uint64_t size_bytes, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	auto_free ThinLabel *label = xcalloc(1, sizeof(*label));
	int active;

	if (require_root(err) < 0 || open_backing(site, &backing, err) < 0 ||
	    recognise(site, &backing, label, err) < 0)
		return -1;
	if (size_bytes < thin_label_end(label) - THIN_BLOCK_BYTES)
		return error_set(err, ERR_USAGE, "a store cannot shrink: it has %llu MiB",
				 (unsigned long long)thin_label_end(label) >> 20);
	if (grow_backing(&backing, size_bytes, err) < 0 ||
	    grow_label(&backing, size_bytes, label, err) < 0)
		return error_wrap(err, "grow the thin pool");
	active = thin_pool_is_active(site, err);
	if (active <= 0)
		return active;
	if (thin_pool_extend(site, &backing, label, err) < 0)
		return error_wrap(err, "grow the thin pool");
	return 0;
}

const StorageBackend dm_thin_storage = {
	.name = "dm-thin",
	.summary = "a thin pool of the kernel's device mapper, in a file or on a device",
	.needs_root = true,
	.has_own_store = true,
	.programs = programs,
	.probe = dm_thin_probe,
	.check_place = dm_thin_check_place,
	.init = dm_thin_init,
	.open = dm_thin_open,
	.close = dm_thin_close,
	.deinit = dm_thin_deinit,
	.import_path = thin_import_path,
	.import_commit = thin_import_commit,
	.clone = thin_clone,
	.seal = thin_seal,
	.destroy = thin_destroy,
	.resize = thin_resize,
	.attach = thin_attach,
	.detach = thin_detach,
	.list = thin_list,
	.path = thin_path,
	.size = thin_size,
	.capacity = thin_capacity,
	.usage = thin_usage,
	.grow = dm_thin_grow,
	.check = dm_thin_check,
};
