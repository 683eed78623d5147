/*
 * How much of its host a managed store takes: made larger while it is in use, and relieved of what
 * nobody needs any more.
 *
 * Growing goes from the outside in: the file, the loop device over it, the filesystem on that. Each
 * is durable before the next, so that a filesystem is never larger than what it lies in; stopped
 * anywhere, the store is whole, and growing again to the same size does the rest.
 */
#include "storage/managed.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/size.h"
#include "storage/clonefile.h"
#include "storage/loop.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

#define GROW_TIMEOUT_MS 120000

/* XFS frees what was deleted in the background, and this request waits for that (xfs/xfs_fs.h, struct
 * xfs_fs_eofblocks of 128 bytes: version 1, XFS_EOF_FLAGS_SYNC, no filters). Others do not know it. */
typedef uint32_t FreeEofBlocks[32];
#define XFS_IOC_FREE_EOFBLOCKS _IOR('X', 58, FreeEofBlocks)

static int open_mount(const char *dir, int *out_fd, Error **err)
{
	auto_fd fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_set_errno(err, errno, "open the store '%s'", dir);
	*out_fd = steal_fd(&fd);
	return 0;
}

int managed_grow_btrfs(const char *dir, Error **err)
{
	struct btrfs_ioctl_vol_args args = { .name = "max" };
	auto_fd fd = -1;

	if (open_mount(dir, &fd, err) < 0)
		return -1;
	if (ioctl(fd, BTRFS_IOC_RESIZE, &args) < 0)
		return error_set_errno(err, errno, "grow the filesystem of '%s'", dir);
	/* The new size is in memory until a transaction brings it to the disk. */
	if (syncfs(fd) < 0)
		return error_set_errno(err, errno, "sync the filesystem of '%s'", dir);
	return 0;
}

int managed_grow_xfs(const char *dir, Error **err)
{
	auto_command Command cmd = { 0 };
	auto_free char *program = program_find_admin("xfs_growfs");
	auto_fd fd = -1;

	command_init(&cmd, program ? program : "xfs_growfs", "-d", dir, NULL);
	if (command_run(&cmd, deadline_in_ms(GROW_TIMEOUT_MS), err) < 0 ||
	    open_mount(dir, &fd, err) < 0)
		return -1;
	if (syncfs(fd) < 0)
		return error_set_errno(err, errno, "sync the filesystem of '%s'", dir);
	return 0;
}

static int refuse_shrink(const Backing *backing, Error **err)
{
	auto_free char *now = size_text(backing->size_bytes);

	error_set(err, ERR_USAGE, "a store cannot shrink: '%s' has %s", backing->path, now);
	return error_hint(err, "name a larger size, or make room in it: ember storage trim");
}

/* A device is as large as it is; the store takes all of it. */
static int check_device(const Backing *backing, uint64_t size_bytes, Error **err)
{
	auto_free char *has = NULL;

	if (size_bytes == backing->size_bytes)
		return 0;
	if (size_bytes < backing->size_bytes)
		return refuse_shrink(backing, err);
	has = size_text(backing->size_bytes);
	error_set(err, ERR_USAGE, "the device '%s' has %s, and the store on it cannot be larger",
		  backing->path, has);
	return error_hint(err, "make the device larger first, for example: lvextend -L %lluM '%s'",
			  (unsigned long long)(size_bytes >> 20), backing->path);
}

/* The file is sparse, but what is asked for now is meant to be written to. */
static int check_room(const Backing *backing, uint64_t more_bytes, Error **err)
{
	auto_free char *more = size_text(more_bytes);
	auto_free char *left = NULL;
	uint64_t free_bytes;

	if (fs_free_bytes(backing->path, &free_bytes, err) < 0)
		return -1;
	if (more_bytes <= free_bytes)
		return 0;
	left = size_text(free_bytes);
	error_set(err, ERR_FAILED,
		  "not enough space around '%s': it would get %s more, and %s are free",
		  backing->path, more, left);
	return error_hint(err, "free some space, or ask for less: df -h '%s'", backing->path);
}

static int grow_file(Backing *backing, uint64_t size_bytes, Error **err)
{
	if (size_bytes < backing->size_bytes)
		return refuse_shrink(backing, err);
	if (size_bytes > INT64_MAX)
		return error_set(err, ERR_USAGE, "a store of %llu bytes is too large",
				 (unsigned long long)size_bytes);
	if (size_bytes == backing->size_bytes)
		return 0;
	if (check_room(backing, size_bytes - backing->size_bytes, err) < 0 ||
	    failpoint("storage.grow.file", err) < 0)
		return -1;
	if (ftruncate(backing->fd, (off_t)size_bytes) < 0) {
		error_set_errno(err, errno, "grow '%s'", backing->path);
		return errno == EFBIG ? error_recode(err, ERR_USAGE) : -1;
	}
	backing->size_bytes = size_bytes;
	if (failpoint("storage.grow.file.sync", err) < 0)
		return -1;
	return fs_sync_fd(backing->fd, backing->path, err);
}

/* A device that was there before the file grew still has its former size. */
static int grow_loop(const Backing *backing, Error **err)
{
	auto_loop_device LoopDevice device = LOOP_DEVICE_NONE;
	int found;

	if (failpoint("storage.grow.device", err) < 0)
		return -1;
	found = loop_find(backing->fd, &device, err);
	return found <= 0 ? found : loop_refresh_size(&device, err);
}

static int grow_backing(Backing *backing, uint64_t size_bytes, Error **err)
{
	if (backing->is_device)
		return check_device(backing, size_bytes, err);
	return grow_file(backing, size_bytes, err) < 0 ? -1 : grow_loop(backing, err);
}

int managed_grow(const StorageSite *site, const Filesystem *fs, uint64_t size_bytes, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	int found, ours;

	if (managed_require_root("only root can make the store larger", err) < 0)
		return -1;
	found = backing_open(site, &backing, err);
	if (found <= 0)
		return found < 0 ? -1 : managed_missing(site, err);
	ours = managed_recognise(site, fs, &backing, err);
	if (ours == 0)
		return error_set(err, ERR_FAILED, "'%s' is empty: this is no store", backing.path);
	/* Mounted first: what cannot be brought up is not made larger either. */
	if (ours < 0 || managed_bring_up(site, fs, &backing, err) < 0 ||
	    grow_backing(&backing, size_bytes, err) < 0 ||
	    failpoint("storage.grow.filesystem", err) < 0)
		return -1;
	return fs->grow(site->store_dir, err);
}

/* What the store's file really takes. A device takes what it takes. */
static int taken_bytes(const StoragePool *pool, uint64_t *out_bytes, Error **err)
{
	struct stat st;

	*out_bytes = STORAGE_UNKNOWN;
	if (!pool->host_file)
		return 0;
	if (stat(pool->host_file, &st) < 0)
		return error_set_errno(err, errno, "look at '%s'", pool->host_file);
	*out_bytes = (uint64_t)st.st_blocks * 512;
	return 0;
}

/* What was deleted a moment ago is free only when its transaction is on the disk. */
static int settle(int fd, const char *dir, Error **err)
{
	FreeEofBlocks request = { 1, 1 };

	if (ioctl(fd, XFS_IOC_FREE_EOFBLOCKS, request) < 0 && errno != ENOTTY &&
	    errno != EOPNOTSUPP)
		return error_set_errno(err, errno, "clean up the filesystem of '%s'", dir);
	if (syncfs(fd) < 0)
		return error_set_errno(err, errno, "sync the filesystem of '%s'", dir);
	return 0;
}

static int discard_free(int fd, const char *dir, Error **err)
{
	struct fstrim_range range = { .len = UINT64_MAX };

	if (ioctl(fd, FITRIM, &range) == 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOTTY)
		return error_set_errno(err, errno, "trim the filesystem of '%s'", dir);
	error_set(err, ERR_UNSUPPORTED, "what the store '%s' lies in takes no space back", dir);
	return error_hint(err, "see what it is: findmnt -T '%s'", dir);
}

int managed_trim(StoragePool *pool, StorageTrim *out_trim, Error **err)
{
	StorageTrim trim;
	auto_fd fd = -1;

	if (managed_require_root("only root can trim the store", err) < 0 ||
	    open_mount(pool->dir, &fd, err) < 0 || taken_bytes(pool, &trim.before_bytes, err) < 0 ||
	    failpoint("storage.trim", err) < 0 || settle(fd, pool->dir, err) < 0 ||
	    discard_free(fd, pool->dir, err) < 0 || taken_bytes(pool, &trim.after_bytes, err) < 0)
		return -1;
	*out_trim = trim;
	return 0;
}
