#include "storage/clonefile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

#define VOLUME_SUFFIX ".raw"
#define IMPORT_SUFFIX ".part"
/* A sparse file that cannot grow turns into I/O errors inside the store, and its filesystem goes
 * read-only. Below this much room around it nothing new is begun. */
#define HOST_RESERVE_BYTES (64ULL << 20)

int clonefile_prepare(const char *dir, Error **err)
{
	if (fs_mkdir_all(dir, 0700, err) < 0)
		return -1;
	/* The root of a filesystem of our own comes as mkfs made it. */
	if (chmod(dir, 0700) < 0)
		return error_set_errno(err, errno, "protect '%s'", dir);
	if (os_prefer_small_copies(dir) < 0)
		return error_set_errno(err, errno, "set the copy unit of '%s'", dir);
	if (os_avoid_compression(dir) < 0)
		return error_set_errno(err, errno, "mark '%s' as not to be compressed", dir);
	return 0;
}

int clonefile_open(const char *dir, const char *host_file, StoragePool **out_pool, Error **err)
{
	StoragePool *pool;
	struct stat st;

	if (stat(dir, &st) < 0 && errno == ENOENT)
		return storage_missing(dir, err);
	if (stat(dir, &st) < 0)
		return error_set_errno(err, errno, "open the store '%s'", dir);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, ERR_FAILED, "the store '%s' is not a directory", dir);
	pool = xcalloc(1, sizeof(*pool));
	pool->dir = xstrdup(dir);
	pool->host_file = xstrdup_null(host_file);
	pool->sync_brings_name = os_sync_brings_name(dir);
	*out_pool = pool;
	return 0;
}

void clonefile_close(StoragePool *pool)
{
	if (!pool)
		return;
	free(pool->dir);
	free(pool->host_file);
	free(pool);
}

static char *file_of(const StoragePool *pool, const char *volume, const char *suffix)
{
	return xasprintf("%s/%s%s", pool->dir, volume, suffix);
}

char *clonefile_volume_file(const StoragePool *pool, const char *volume)
{
	return file_of(pool, volume, VOLUME_SUFFIX);
}

char *clonefile_import_file(const StoragePool *pool, const char *volume)
{
	return file_of(pool, volume, IMPORT_SUFFIX);
}

static int out_of_space(const char *where, Error **err)
{
	error_set(err, ERR_FAILED, "not enough space left around the store's file '%s'", where);
	return error_hint(err, "free some space and try again: df -h '%s'", where);
}

static int check_host_space(const StoragePool *pool, Error **err)
{
	uint64_t free_bytes;

	if (!pool->host_file)
		return 0;
	if (fs_free_bytes(pool->host_file, &free_bytes, err) < 0)
		return -1;
	return free_bytes < HOST_RESERVE_BYTES ? out_of_space(pool->host_file, err) : 0;
}

/* The volume's file, with the error that a user understands when it is not there. */
static int open_volume(const StoragePool *pool, const char *volume, int flags, int *out_fd,
		       Error **err)
{
	auto_free char *path = NULL;
	auto_fd fd = -1;

	if (storage_check_name(volume, err) < 0)
		return -1;
	path = file_of(pool, volume, VOLUME_SUFFIX);
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT) {
		error_set(err, ERR_NOT_FOUND, "the disk '%s' is missing", path);
		return error_hint(err, "see what else is wrong: ember doctor");
	}
	if (fd < 0)
		return error_set_errno(err, errno, "open disk '%s'", path);
	*out_fd = steal_fd(&fd);
	return 0;
}

static int file_bytes(int fd, const char *volume, uint64_t *out_bytes, Error **err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set_errno(err, errno, "look at disk '%s'", volume);
	*out_bytes = (uint64_t)st.st_size;
	return 0;
}

static int grow(int fd, const char *volume, uint64_t size_bytes, Error **err)
{
	if (size_bytes > INT64_MAX)
		return error_set(err, ERR_USAGE, "a disk of %llu bytes is too large",
				 (unsigned long long)size_bytes);
	if (ftruncate(fd, (off_t)size_bytes) < 0) {
		error_set_errno(err, errno, "grow disk '%s'", volume);
		return errno == EFBIG ? error_recode(err, ERR_USAGE) : -1;
	}
	return 0;
}

int clonefile_import_path(StoragePool *pool, const char *volume, char **out_path, Error **err)
{
	auto_free char *sealed = NULL;
	auto_free char *part = NULL;

	if (storage_check_name(volume, err) < 0 || check_host_space(pool, err) < 0)
		return -1;
	sealed = file_of(pool, volume, VOLUME_SUFFIX);
	if (fs_exists(sealed))
		return error_set(err, ERR_EXISTS, "the disk '%s' exists already", sealed);
	part = file_of(pool, volume, IMPORT_SUFFIX);
	/* What an interrupted import of the same name left. */
	if (fs_remove(part, err) < 0)
		return -1;
	*out_path = steal(&part);
	return 0;
}

/* The order makes it all or nothing: contents, mode, and only then the name of a volume. */
int clonefile_import_commit(StoragePool *pool, const char *volume, Error **err)
{
	auto_free char *sealed = NULL;
	auto_free char *part = NULL;
	auto_fd fd = -1;

	if (storage_check_name(volume, err) < 0)
		return -1;
	sealed = file_of(pool, volume, VOLUME_SUFFIX);
	part = file_of(pool, volume, IMPORT_SUFFIX);
	fd = open(part, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return error_set_errno(err, errno, "open imported disk '%s'", part);
	if (failpoint("storage.seal", err) < 0)
		return -1;
	if (fchmod(fd, 0444) < 0)
		return error_set_errno(err, errno, "seal disk '%s'", part);
	if (failpoint("storage.seal.sync", err) < 0 || fs_sync_fd(fd, part, err) < 0 ||
	    failpoint("storage.seal.commit", err) < 0 || fs_rename_new(part, sealed, err) < 0)
		return -1;
	return fs_sync_path(pool->dir, err);
}

static int clone_failed(const char *path, int errnum, Error **err)
{
	if (errnum == EOPNOTSUPP || errnum == EXDEV || errnum == ENOTTY) {
		error_set(err, ERR_UNSUPPORTED, "the filesystem of '%s' does not clone files",
			  path);
		return error_hint(err, "see which storage this host has: ember doctor");
	}
	return error_set_errno(err, errnum, "clone disk '%s'", path);
}

/* Grow the new clone and bring it to the disk. Its directory goes last: a name on disk is always
 * the name of a whole volume. */
static int finish_clone(const StoragePool *pool, const char *to, uint64_t size_bytes, bool larger,
			Error **err)
{
	auto_fd fd = -1;

	if (open_volume(pool, to, O_RDWR, &fd, err) < 0)
		return -1;
	if (larger &&
	    (failpoint("storage.clone.grow", err) < 0 || grow(fd, to, size_bytes, err) < 0))
		return -1;
	if (failpoint("storage.clone.sync", err) < 0 || fs_sync_fd(fd, to, err) < 0)
		return -1;
	return pool->sync_brings_name ? 0 : fs_sync_path(pool->dir, err);
}

/* FICLONE and clonefile flush the source and copy it at one instant: a hypervisor need not know. */
int clonefile_clone(StoragePool *pool, const char *from, const char *to, uint64_t size_bytes,
		    const StorageLive *live UNUSED, Error **err)
{
	auto_free char *path = NULL;
	auto_fd source = -1;
	uint64_t source_bytes;

	if (storage_check_name(to, err) < 0 ||
	    open_volume(pool, from, O_RDONLY, &source, err) < 0 ||
	    file_bytes(source, from, &source_bytes, err) < 0 || check_host_space(pool, err) < 0 ||
	    failpoint("storage.clone", err) < 0)
		return -1;
	path = file_of(pool, to, VOLUME_SUFFIX);
	if (os_clone_file(source, path, 0600) < 0)
		return clone_failed(path, errno, err);
	if (finish_clone(pool, to, size_bytes, size_bytes > source_bytes, err) < 0) {
		(void)unlink(path);
		return -1;
	}
	return 0;
}

int clonefile_seal(StoragePool *pool, const char *volume, Error **err)
{
	auto_fd fd = -1;

	if (open_volume(pool, volume, O_RDONLY, &fd, err) < 0)
		return -1;
	if (failpoint("storage.seal.volume", err) < 0)
		return -1;
	if (fchmod(fd, 0444) < 0)
		return error_set_errno(err, errno, "seal disk '%s'", volume);
	if (failpoint("storage.seal.volume.sync", err) < 0)
		return -1;
	return fs_sync_fd(fd, volume, err);
}

/* Not synced: a removal that a power cut undoes leaves a volume without a record, and those are
 * collected. */
int clonefile_destroy(StoragePool *pool, const char *volume, Error **err)
{
	auto_free char *sealed = NULL;
	auto_free char *part = NULL;

	if (storage_check_name(volume, err) < 0 || failpoint("storage.destroy", err) < 0)
		return -1;
	sealed = file_of(pool, volume, VOLUME_SUFFIX);
	part = file_of(pool, volume, IMPORT_SUFFIX);
	return fs_remove(part, err) < 0 ? -1 : fs_remove(sealed, err);
}

int clonefile_resize(StoragePool *pool, const char *volume, uint64_t size_bytes,
		     bool is_live UNUSED, Error **err)
{
	auto_fd fd = -1;
	uint64_t now_bytes;

	if (open_volume(pool, volume, O_RDWR, &fd, err) < 0 ||
	    file_bytes(fd, volume, &now_bytes, err) < 0)
		return -1;
	if (size_bytes < now_bytes)
		return error_set(err, ERR_USAGE, "a disk cannot shrink: it has %llu bytes",
				 (unsigned long long)now_bytes);
	if (size_bytes == now_bytes)
		return 0;
	if (failpoint("storage.resize", err) < 0 || grow(fd, volume, size_bytes, err) < 0)
		return -1;
	return fs_sync_fd(fd, volume, err);
}

int clonefile_attach(StoragePool *pool, const char *volume, StorageDisk *out_disk, Error **err)
{
	auto_fd fd = -1;

	if (open_volume(pool, volume, O_RDONLY, &fd, err) < 0)
		return -1;
	*out_disk =
		(StorageDisk){ .path = file_of(pool, volume, VOLUME_SUFFIX), .format = DISK_RAW };
	return 0;
}

int clonefile_list(StoragePool *pool, Strv *out_volumes, Error **err)
{
	auto_strv Strv files = { 0 };

	if (fs_list(pool->dir, &files, err) < 0)
		return -1;
	for (size_t i = 0; i < files.count; i++) {
		const char *name = files.items[i];
		const char *suffix = strrchr(name, '.');

		if (!suffix ||
		    (strcmp(suffix, VOLUME_SUFFIX) != 0 && strcmp(suffix, IMPORT_SUFFIX) != 0))
			continue;
		auto_free char *volume = xstrndup(name, (size_t)(suffix - name));

		if (storage_check_name(volume, NULL) == 0 && !strv_has(out_volumes, volume))
			strv_push_take(out_volumes, steal(&volume));
	}
	return 0;
}

char *clonefile_path(const StorageSite *site, const char *volume)
{
	return xasprintf("%s/%s" VOLUME_SUFFIX, site->store_dir, volume);
}

int clonefile_size(StoragePool *pool, const char *volume, uint64_t *out_bytes, Error **err)
{
	auto_fd fd = -1;

	if (open_volume(pool, volume, O_RDONLY, &fd, err) < 0)
		return -1;
	return file_bytes(fd, volume, out_bytes, err);
}

int clonefile_capacity(StoragePool *pool, StorageCapacity *out_capacity, Error **err)
{
	StorageCapacity capacity;
	struct statvfs st;
	uint64_t host_free;

	if (statvfs(pool->dir, &st) < 0)
		return error_set_errno(err, errno, "look at the store '%s'", pool->dir);
	capacity.total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
	capacity.free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	if (pool->host_file) {
		if (fs_free_bytes(pool->host_file, &host_free, err) < 0)
			return -1;
		if (host_free < capacity.free_bytes)
			capacity.free_bytes = host_free;
	}
	*out_capacity = capacity;
	return 0;
}
