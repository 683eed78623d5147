#include "storage/backing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "model/size.h"
#include "util/cancel.h"
#include "util/fs.h"
#include "util/mem.h"

void backing_release(Backing *backing)
{
	free(backing->path);
	close_fd(&backing->fd);
	*backing = BACKING_NONE;
}

char *backing_path(const StorageSite *site)
{
	return site->path ? xstrdup(site->path) : path_join(site->state_dir, "store.img");
}

static char *temporary_path(const StorageSite *site)
{
	auto_free char *path = backing_path(site);

	return xasprintf("%s.new", path);
}

static int lock_fd(int fd, const char *path, Error **err)
{
	while (flock(fd, LOCK_EX) < 0) {
		if (errno != EINTR)
			return error_set_errno(err, errno, "lock '%s'", path);
		if (cancel_check(err) < 0)
			return -1;
	}
	return 0;
}

/* While we waited for the lock, its former holder may have deleted or replaced the file. */
static bool still_named(int fd, const char *path)
{
	struct stat opened, named;

	return fstat(fd, &opened) == 0 && stat(path, &named) == 0 &&
	       opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

static int measure(Backing *backing, Error **err)
{
	struct stat st;

	if (fstat(backing->fd, &st) < 0)
		return error_set_errno(err, errno, "look at '%s'", backing->path);
	backing->is_device = S_ISBLK(st.st_mode);
	backing->size_bytes = (uint64_t)st.st_size;
	if (backing->is_device && ioctl(backing->fd, BLKGETSIZE64, &backing->size_bytes) < 0)
		return error_set_errno(err, errno, "measure '%s'", backing->path);
	if (!backing->is_device && !S_ISREG(st.st_mode))
		return error_set(err, ERR_USAGE, "'%s' is neither a file nor a block device",
				 backing->path);
	return 0;
}

int backing_open(const StorageSite *site, Backing *out_backing, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;

	backing.path = backing_path(site);
	do {
		close_fd(&backing.fd);
		backing.fd = open(backing.path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (backing.fd < 0 && errno == ENOENT)
			return 0;
		if (backing.fd < 0 && errno == EISDIR) {
			error_set(err, ERR_USAGE,
				  "'%s' is a directory, and a store is a file or a device",
				  backing.path);
			return error_hint(err, "name a file in it: --storage-path '%s/store.img'",
					  backing.path);
		}
		if (backing.fd < 0)
			return error_set_errno(err, errno, "open '%s'", backing.path);
		if (lock_fd(backing.fd, backing.path, err) < 0)
			return -1;
	} while (!still_named(backing.fd, backing.path));
	if (measure(&backing, err) < 0)
		return -1;
	*out_backing = backing;
	backing = BACKING_NONE;
	return 1;
}

int backing_too_small(const Backing *backing, Error **err)
{
	error_set(err, ERR_USAGE, "'%s' is too small for a store: at least %llu MiB", backing->path,
		  BACKING_MIN_BYTES >> 20);
	return backing->is_device
		       ? error_hint(err, "name a larger device, or a file")
		       : error_hint(err, "make it larger: truncate -s 4G '%s'", backing->path);
}

static void refuse_length(const Backing *backing, int errnum, Error **err)
{
	auto_free char *size = size_text(backing->size_bytes);

	if (errnum != EFBIG) {
		error_set_errno(err, errnum, "make '%s' of %s", backing->path, size);
		return;
	}
	error_set(err, ERR_USAGE, "a file of %s is more than the filesystem of '%s' can hold", size,
		  backing->path);
	error_hint(err, "ask for less, for example --size 8T: a store grows later");
}

int backing_create(const StorageSite *site, Backing *out_backing, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;

	backing.size_bytes = site->size_bytes ? site->size_bytes : BACKING_DEFAULT_BYTES;
	if (backing.size_bytes < BACKING_MIN_BYTES) {
		error_set(err, ERR_USAGE, "a store needs at least %llu MiB",
			  BACKING_MIN_BYTES >> 20);
		return error_hint(err, "ask for more, for example --size 4G: it is sparse");
	}
	if (backing.size_bytes > INT64_MAX)
		return error_set(err, ERR_USAGE, "a store of %llu bytes is too large",
				 (unsigned long long)backing.size_bytes);
	backing.path = temporary_path(site);
	do {
		close_fd(&backing.fd);
		backing.fd = open(backing.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (backing.fd < 0)
			return error_set_errno(err, errno, "make '%s'", backing.path);
		if (lock_fd(backing.fd, backing.path, err) < 0)
			return -1;
	} while (!still_named(backing.fd, backing.path));
	if (ftruncate(backing.fd, 0) < 0 || ftruncate(backing.fd, (off_t)backing.size_bytes) < 0) {
		refuse_length(&backing, errno, err);
		(void)unlink(backing.path);
		return -1;
	}
	*out_backing = backing;
	backing = BACKING_NONE;
	return 0;
}

int backing_commit(const StorageSite *site, Backing *backing, Error **err)
{
	auto_free char *path = backing_path(site);
	auto_free char *dir = path_dirname(path);

	if (fs_sync_fd(backing->fd, backing->path, err) < 0 ||
	    fs_rename_new(backing->path, path, err) < 0)
		return -1;
	str_assign(&backing->path, path);
	return fs_sync_path(dir, err);
}

int backing_not_empty(const Backing *backing, const Superblock *found, Error **err)
{
	error_set(err, ERR_EXISTS, "'%s' is not empty: it has %s%s%s", backing->path, found->kind,
		  *found->label ? " labelled " : "", found->label);
	if (!backing->is_device)
		return error_hint(err, "name another place: --storage-path PATH");
	/* wipefs takes the marks away, and mkfs would be content with that; we want to see zeros. */
	return error_hint(err,
			  "if nothing on it is needed any more: wipefs -a '%s' && "
			  "dd if=/dev/zero of='%s' bs=1M count=1",
			  backing->path, backing->path);
}

char *backing_reason(const Error *err)
{
	const char *hint = error_hint_text(err);

	return hint ? xasprintf("%s (%s)", error_text(err), hint) : xstrdup(error_text(err));
}

int backing_remove_temporary(const StorageSite *site, Error **err)
{
	auto_free char *path = temporary_path(site);

	return fs_remove(path, err);
}
