/*
 * Stores on a filesystem of our own: a sparse file (STATE/store.img) or a device that ember formats
 * as btrfs or XFS and mounts on STATE/store when it is needed. From there on it is a clonefile
 * store.
 *
 * Nothing is written to fstab and nothing is unmounted behind the user's back: after a reboot the
 * first command mounts it again, `ember deinit` unmounts it. The label of the filesystem is
 * ember-ID, ID being the installation's.
 *
 * Two loop devices over one file would be two caches of one filesystem, and the end of it. So
 * formatting, attaching and deleting happen under a lock on the file itself, and a device that has
 * the file already is used rather than a second one.
 */
#include "storage/managed.h"

#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/size.h"
#include "storage/clonefile.h"
#include "storage/loop.h"
#include "storage/mounted.h"
#include "storage/storages.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"
#include "util/process.h"

#define FORMAT_TIMEOUT_MS 120000
/* What a freshly formatted file may take from its host. */
#define FORMAT_HOST_BYTES (512ULL << 20)

static const char *const btrfs_mkfs_args[] = { "-q", "-K", NULL };
static const char *const xfs_mkfs_args[] = { "-q", "-K", "-m", "reflink=1", NULL };

static const char *const btrfs_programs[] = { "mkfs.btrfs", NULL };
static const char *const xfs_programs[] = { "mkfs.xfs", NULL };

static const Filesystem btrfs = {
	.name = "btrfs",
	.magic = BTRFS_SUPER_MAGIC,
	.mkfs = "mkfs.btrfs",
	.mkfs_args = btrfs_mkfs_args,
	.mount_options = "nodiscard",
	.grow = managed_grow_btrfs,
};

static const Filesystem xfs = {
	.name = "xfs",
	.magic = XFS_SUPER_MAGIC,
	.mkfs = "mkfs.xfs",
	.mkfs_args = xfs_mkfs_args,
	.mount_options = NULL,
	.grow = managed_grow_xfs,
};

static char *label_of(const StorageSite *site)
{
	return xasprintf("ember-%.6s", site->instance_id);
}

int managed_recognise(const StorageSite *site, const Filesystem *fs, const Backing *backing,
		      Error **err)
{
	auto_free char *label = label_of(site);
	Superblock found;

	if (superblock_read(backing->fd, backing->size_bytes, &found, err) < 0)
		return error_wrap(err, "look at '%s'", backing->path);
	if (!found.kind)
		return 0;
	if (!strcmp(found.kind, fs->name) && !strcmp(found.label, label))
		return 1;
	if (str_starts_with(found.label, "ember-") && strcmp(found.label, label) != 0) {
		error_set(err, ERR_EXISTS,
			  "'%s' is the store of installation '%s', and this is '%s'", backing->path,
			  found.label + strlen("ember-"), site->instance_id);
		return error_hint(err,
				  "name another place: ember init --storage %s --storage-path PATH",
				  fs->name);
	}
	if (!strcmp(found.label, label)) {
		error_set(err, ERR_EXISTS, "'%s' is a store of this installation, but on %s",
			  backing->path, found.kind);
		return error_hint(err, "take it over: ember init --storage %s", found.kind);
	}
	return backing_not_empty(backing, &found, err);
}

static int run_mkfs(const StorageSite *site, const Filesystem *fs, const Backing *backing,
		    Error **err)
{
	auto_command Command cmd = { 0 };
	auto_free char *program = program_find_admin(fs->mkfs);
	auto_free char *label = label_of(site);

	/* Even now mkfs is not forced: what it still recognises as somebody's stays untouched. */
	command_init(&cmd, program ? program : fs->mkfs, NULL);
	for (const char *const *arg = fs->mkfs_args; *arg; arg++)
		command_add(&cmd, *arg);
	command_add(&cmd, "-L");
	command_add(&cmd, label);
	command_add(&cmd, backing->path);
	return command_run(&cmd, deadline_in_ms(FORMAT_TIMEOUT_MS), err);
}

static int check_room(const char *path, Error **err)
{
	uint64_t free_bytes;

	if (fs_free_bytes(path, &free_bytes, err) < 0)
		return -1;
	if (free_bytes >= FORMAT_HOST_BYTES)
		return 0;
	error_set(err, ERR_FAILED,
		  "not enough space for a store at '%s': %llu MiB are free, %llu needed", path,
		  (unsigned long long)free_bytes >> 20, FORMAT_HOST_BYTES >> 20);
	return error_hint(err, "free some space, or name another place with --storage-path");
}

/* A new file, formatted under a temporary name. */
static int make_store(const StorageSite *site, const Filesystem *fs, Backing *out_backing,
		      Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	auto_free char *path = backing_path(site);
	auto_free char *dir = path_dirname(path);

	if (fs_mkdir_all(dir, 0700, err) < 0 || check_room(dir, err) < 0 ||
	    backing_create(site, &backing, err) < 0)
		return -1;
	if (failpoint("storage.format", err) < 0 || run_mkfs(site, fs, &backing, err) < 0 ||
	    failpoint("storage.format.commit", err) < 0 ||
	    backing_commit(site, &backing, err) < 0) {
		(void)backing_remove_temporary(site, NULL);
		return -1;
	}
	*out_backing = backing;
	backing = BACKING_NONE;
	return 0;
}

/* What is there has its size: a wish for another one must not be forgotten in silence. */
static int check_size(const StorageSite *site, const Backing *backing, Error **err)
{
	auto_free char *has = NULL;

	if (!site->size_bytes || site->size_bytes == backing->size_bytes)
		return 0;
	has = size_text(backing->size_bytes);
	error_set(err, ERR_USAGE, "'%s' is there already and has %s, which is not the --size given",
		  backing->path, has);
	return error_hint(err,
			  "leave out --size; a store grows later: ember storage grow --size SIZE");
}

/* What the user gave: ours already, or empty and formatted in place. */
static int take_store(const StorageSite *site, const Filesystem *fs, const Backing *backing,
		      bool *out_adopted, Error **err)
{
	int ours = managed_recognise(site, fs, backing, err);

	if (ours < 0 || check_size(site, backing, err) < 0)
		return -1;
	*out_adopted = ours > 0;
	if (ours)
		return 0;
	if (backing->size_bytes < BACKING_MIN_BYTES)
		return backing_too_small(backing, err);
	if (failpoint("storage.format.device", err) < 0)
		return -1;
	return run_mkfs(site, fs, backing, err);
}

/* The block device of the locked file: the one that has it, else a new one. */
static int attach(const Backing *backing, LoopDevice *out_device, Error **err)
{
	int found = loop_find_shareable(backing->fd, backing->path, out_device, err);

	if (found != 0)
		return found < 0 ? -1 : 0;
	if (failpoint("storage.attach", err) < 0)
		return -1;
	return loop_attach(backing->path, out_device, err);
}

/* Mounted somewhere else it is in use by somebody who would not know what we do, or remove, in it. */
static int refuse_elsewhere(const char *source, const StorageSite *site, Error **err)
{
	auto_free char *dir = NULL;
	int found = mount_find(source, site->store_dir, &dir, err);

	if (found <= 0)
		return found;
	error_set(err, ERR_BUSY, "the store is mounted on '%s' already", dir);
	return error_hint(err, "unmount it there: umount '%s'", dir);
}

/* The caller holds the backing's lock and knows that nothing is mounted yet. */
static int mount_backing(const StorageSite *site, const Filesystem *fs, const Backing *backing,
			 Error **err)
{
	auto_loop_device LoopDevice device = LOOP_DEVICE_NONE;
	const char *source = backing->path;

	if (fs_mkdir_all(site->store_dir, 0700, err) < 0)
		return -1;
	if (!backing->is_device) {
		if (attach(backing, &device, err) < 0)
			return -1;
		source = device.path;
	}
	if (refuse_elsewhere(source, site, err) < 0 || failpoint("storage.mount", err) < 0)
		return -1;
	return mount_private(source, site->store_dir, fs->name, fs->mount_options, err);
}

int managed_is_mounted(const StorageSite *site, const Filesystem *fs, Error **err)
{
	MountState state;

	if (mount_state(site->store_dir, fs->magic, &state, err) < 0)
		return -1;
	if (state == MOUNT_OTHER) {
		error_set(err, ERR_STATE, "something that is not %s is mounted on '%s'", fs->name,
			  site->store_dir);
		return error_hint(err, "unmount it: umount '%s'", site->store_dir);
	}
	return state == MOUNT_OURS || state == MOUNT_FAILED;
}

/* A filesystem that gave up on an I/O error, as when its file cannot grow on a full host, is whole on the
 * disk up to the last sync, and good again once it is mounted anew. The caller holds the lock. */
static int revive(const StorageSite *site, const Filesystem *fs, Error **err)
{
	MountState state;

	if (mount_state(site->store_dir, fs->magic, &state, err) < 0)
		return -1;
	if (state != MOUNT_FAILED || mount_remove(site->store_dir, fs->magic, err) == 0)
		return 0;
	if (error_code(*err) != ERR_BUSY)
		return -1;
	error_clear(err);
	error_set(
		err, ERR_STATE,
		"the store '%s' takes no more writes, since its host had no room or its disk failed, "
		"and VMs still have it open",
		site->store_dir);
	return error_hint(err, "make room, then: ember vm stop --force --all");
}

int managed_require_root(const char *what, Error **err)
{
	if (geteuid() == 0)
		return 0;
	error_set(err, ERR_DENIED, "%s", what);
	return error_hint(err, "run the command as root once, for example with sudo");
}

int managed_bring_up(const StorageSite *site, const Filesystem *fs, const Backing *backing,
		     Error **err)
{
	int mounted = revive(site, fs, err) < 0 ? -1 : managed_is_mounted(site, fs, err);

	if (mounted < 0 || (!mounted && mount_backing(site, fs, backing, err) < 0))
		return -1;
	if (clonefile_prepare(site->store_dir, err) == 0) {
		if (os_probe_clone(site->store_dir) > 0)
			return 0;
		error_set(err, ERR_UNSUPPORTED, "the store '%s' does not clone files",
			  site->store_dir);
	}
	if (!mounted)
		(void)mount_remove(site->store_dir, fs->magic, NULL);
	return -1;
}

static int managed_init(const StorageSite *site, const Filesystem *fs, bool *out_adopted,
			Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	bool adopted = false;
	int found;

	if (managed_require_root("only root can mount a store", err) < 0)
		return -1;
	found = backing_open(site, &backing, err);
	if (found < 0 || (found == 0 && make_store(site, fs, &backing, err) < 0) ||
	    (found > 0 && take_store(site, fs, &backing, &adopted, err) < 0))
		return error_wrap(err, "make the %s store", fs->name);
	if (managed_bring_up(site, fs, &backing, err) < 0) {
		if (!found)
			(void)fs_remove(backing.path, NULL);
		return error_wrap(err, "make the %s store", fs->name);
	}
	*out_adopted = adopted;
	return 0;
}

int managed_missing(const StorageSite *site, Error **err)
{
	auto_free char *path = backing_path(site);

	return storage_missing(path, err);
}

/* Can it be used as it is? 1 yes, 0 it must be mounted, perhaps anew, -1. */
static int is_usable(const StorageSite *site, const Filesystem *fs, Error **err)
{
	MountState state;

	if (managed_is_mounted(site, fs, err) < 0 ||
	    mount_state(site->store_dir, fs->magic, &state, err) < 0)
		return -1;
	return state == MOUNT_OURS;
}

static int mount_on_demand(const StorageSite *site, const Filesystem *fs, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	int usable = is_usable(site, fs, err);
	int found;

	if (usable)
		return usable < 0 ? -1 : 0;
	if (managed_require_root("the store is not mounted, and only root can mount it", err) < 0)
		return -1;
	found = backing_open(site, &backing, err);
	if (found <= 0)
		return found < 0 ? -1 : managed_missing(site, err);
	/* Whoever held the lock before us may have mounted it. */
	usable = is_usable(site, fs, err);
	if (usable)
		return usable < 0 ? -1 : 0;
	if (revive(site, fs, err) < 0)
		return -1;
	found = managed_recognise(site, fs, &backing, err);
	if (found == 0)
		return error_set(err, ERR_FAILED, "'%s' is empty: this is no store", backing.path);
	return found < 0 ? -1 : mount_backing(site, fs, &backing, err);
}

static int managed_open(const StorageSite *site, const Filesystem *fs, StoragePool **out_pool,
			Error **err)
{
	auto_free char *path = backing_path(site);
	struct stat st;
	bool in_file;

	if (mount_on_demand(site, fs, err) < 0)
		return error_wrap(err, "open the %s store", fs->name);
	in_file = stat(path, &st) == 0 && S_ISREG(st.st_mode);
	return clonefile_open(site->store_dir, in_file ? path : NULL, out_pool, err);
}

/* A device stays formatted, but a purge leaves nothing of ours on it. The caller holds the lock. */
static int empty_device(const StorageSite *site, const Filesystem *fs, const Backing *backing,
			Error **err)
{
	auto_strv Strv volumes = { 0 };
	StoragePool *pool = NULL;
	int ours = managed_recognise(site, fs, backing, err);
	int result = 0;
	int mounted;

	if (ours <= 0)
		return ours;
	mounted = managed_is_mounted(site, fs, err);
	if (mounted < 0 || (!mounted && mount_backing(site, fs, backing, err) < 0) ||
	    clonefile_open(site->store_dir, /* host_file= */ NULL, &pool, err) < 0)
		return -1;
	if (clonefile_list(pool, &volumes, err) < 0)
		result = -1;
	for (size_t i = 0; i < volumes.count && result == 0; i++)
		result = clonefile_destroy(pool, volumes.items[i], err);
	clonefile_close(pool);
	return result;
}

/* Devices detach themselves, but one that somebody attached by hand does so only when told. */
static int detach_left_over(const Backing *backing, Error **err)
{
	auto_loop_device LoopDevice device = LOOP_DEVICE_NONE;
	int found = backing->is_device ? 0 : loop_find(backing->fd, &device, err);

	return found <= 0 ? found : loop_detach(&device, err);
}

static int purge_file(const StorageSite *site, const Filesystem *fs, const Backing *backing,
		      Error **err)
{
	if (managed_recognise(site, fs, backing, err) < 0)
		return error_wrap(err, "delete the store");
	return fs_remove(backing->path, err);
}

static int managed_deinit(const StorageSite *site, const Filesystem *fs, bool purge, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	int mounted = managed_is_mounted(site, fs, err);
	int found;

	if (mounted < 0)
		return -1;
	if (mounted && managed_require_root("only root can unmount the store", err) < 0)
		return -1;
	found = backing_open(site, &backing, err);
	if (found < 0)
		return -1;
	if (purge && failpoint("storage.purge", err) < 0)
		return -1;
	if (purge && found && backing.is_device && empty_device(site, fs, &backing, err) < 0)
		return -1;
	if (failpoint("storage.unmount", err) < 0 ||
	    mount_remove(site->store_dir, fs->magic, err) < 0)
		return -1;
	if (found && geteuid() == 0 && detach_left_over(&backing, err) < 0)
		return -1;
	if (!purge)
		return 0;
	if (backing_remove_temporary(site, err) < 0 ||
	    (found && !backing.is_device && purge_file(site, fs, &backing, err) < 0))
		return -1;
	(void)rmdir(site->store_dir);
	return 0;
}

static int managed_check(const StorageSite *site, const Filesystem *fs, char **out_reason,
			 Error **err)
{
	auto_free char *path = NULL;
	MountState state;

	if (mount_state(site->store_dir, fs->magic, &state, err) < 0)
		return -1;
	if (state == MOUNT_OURS)
		return 1;
	path = backing_path(site);
	if (state == MOUNT_FAILED)
		*out_reason =
			xasprintf("the store '%s' takes no more writes, since its host had no "
				  "room or its disk failed",
				  site->store_dir);
	else if (state == MOUNT_OTHER)
		*out_reason = xasprintf("something that is not %s is mounted on '%s'", fs->name,
					site->store_dir);
	else if (!fs_exists(path))
		*out_reason = xasprintf("'%s' is missing", path);
	else
		*out_reason = xasprintf("'%s' is not mounted; the next command that needs it "
					"mounts it (as root)",
					path);
	return 0;
}

static int managed_check_place(const StorageSite *site, const Filesystem *fs, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;

	if (backing_open(site, &backing, err) < 0 ||
	    (backing.fd >= 0 && managed_recognise(site, fs, &backing, err) < 0))
		return -1;
	return 0;
}

static int managed_probe(const StorageSite *site, const Filesystem *fs, char **out_reason,
			 Error **err UNUSED)
{
	auto_free char *mkfs = program_find_admin(fs->mkfs);
	auto_free char *path = backing_path(site);
	auto_error obstacle = NULL;

	if (geteuid() != 0) {
		*out_reason = xstrdup("only root can mount a store");
		return 0;
	}
	if (!mkfs) {
		auto_free char *hint = program_install_hint(fs->mkfs);

		*out_reason = xasprintf("'%s' is not installed; %s", fs->mkfs, hint);
		return 0;
	}
	if (!mount_probe(fs->name, out_reason))
		return 0;
	if (managed_check_place(site, fs, &obstacle) < 0) {
		*out_reason = backing_reason(obstacle);
		return 0;
	}
	*out_reason = xasprintf("a filesystem of ember's own in '%s'", path);
	return 1;
}

/* The two tables differ in their filesystem only, and a table's functions do not get to see it. */
#define MANAGED_FUNCTIONS(fs)                                                              \
	static int fs##_probe(const StorageSite *site, char **out_reason, Error **err)     \
	{                                                                                  \
		return managed_probe(site, &(fs), out_reason, err);                        \
	}                                                                                  \
	static int fs##_check_place(const StorageSite *site, Error **err)                  \
	{                                                                                  \
		return managed_check_place(site, &(fs), err);                              \
	}                                                                                  \
	static int fs##_init(const StorageSite *site, bool *out_adopted, Error **err)      \
	{                                                                                  \
		return managed_init(site, &(fs), out_adopted, err);                        \
	}                                                                                  \
	static int fs##_open(const StorageSite *site, StoragePool **out_pool, Error **err) \
	{                                                                                  \
		return managed_open(site, &(fs), out_pool, err);                           \
	}                                                                                  \
	static int fs##_deinit(const StorageSite *site, bool purge, Error **err)           \
	{                                                                                  \
		return managed_deinit(site, &(fs), purge, err);                            \
	}                                                                                  \
	static int fs##_check(const StorageSite *site, char **out_reason, Error **err)     \
	{                                                                                  \
		return managed_check(site, &(fs), out_reason, err);                        \
	}                                                                                  \
	static int fs##_grow(const StorageSite *site, uint64_t size_bytes, Error **err)    \
	{                                                                                  \
		return managed_grow(site, &(fs), size_bytes, err);                         \
	}

#define MANAGED_TABLE(fs)                                                                         \
	{                                                                                         \
		.name = #fs,                                                                      \
		.summary = "a file or device formatted as " #fs " by ember, mounted when needed", \
		.needs_root = true, .has_own_store = true, .programs = fs##_programs,             \
		.probe = fs##_probe, .check_place = fs##_check_place, .init = fs##_init,          \
		.open = fs##_open, .close = clonefile_close, .deinit = fs##_deinit,               \
		.import_path = clonefile_import_path, .import_commit = clonefile_import_commit,   \
		.clone = clonefile_clone, .seal = clonefile_seal, .destroy = clonefile_destroy,   \
		.resize = clonefile_resize, .attach = clonefile_attach, .list = clonefile_list,   \
		.path = clonefile_path, .size = clonefile_size, .capacity = clonefile_capacity,   \
		.usage = clonefile_usage, .grow = fs##_grow, .trim = managed_trim,                \
		.check = fs##_check,                                                              \
	}

MANAGED_FUNCTIONS(btrfs)
MANAGED_FUNCTIONS(xfs)

const StorageBackend btrfs_storage = MANAGED_TABLE(btrfs);
const StorageBackend xfs_storage = MANAGED_TABLE(xfs);
