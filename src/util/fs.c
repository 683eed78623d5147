#include "util/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>

#include "util/cancel.h"
#include "util/mem.h"
#include "util/os.h"

char *path_join(const char *dir, const char *name)
{
	return xasprintf("%s%s%s", dir, str_ends_with(dir, "/") ? "" : "/", name);
}

const char *path_basename(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

char *path_dirname(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

int path_absolute(const char *path, char **out_path, Error **err)
{
	char cwd[PATH_MAX];

	if (*path == '/') {
		*out_path = xstrdup(path);
		return 0;
	}
	if (!getcwd(cwd, sizeof(cwd)))
		return error_set_errno(err, errno, "find the working directory");
	*out_path = path_join(cwd, path);
	return 0;
}

bool fs_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

char *fs_nearest_existing(const char *path)
{
	char *dir = xstrdup(path);

	while (!fs_exists(dir) && strcmp(dir, "/") != 0 && strcmp(dir, ".") != 0) {
		char *parent = path_dirname(dir);

		free(dir);
		dir = parent;
	}
	return dir;
}

int fs_mkdir(const char *path, mode_t mode, Error **err)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return 0;
	if (errno != EEXIST)
		return error_set_errno(err, errno, "make directory '%s'", path);
	if (stat(path, &st) < 0)
		return error_set_errno(err, errno, "look at '%s'", path);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, ERR_EXISTS, "'%s' is in the way: it is not a directory",
				 path);
	return 0;
}

int fs_mkdir_all(const char *path, mode_t mode, Error **err)
{
	auto_free char *copy = xstrdup(path);

	for (char *c = copy + 1; *c; c++) {
		if (*c != '/')
			continue;
		*c = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return error_set_errno(err, errno, "make directory '%s'", copy);
		*c = '/';
	}
	return fs_mkdir(path, mode, err);
}

int fs_remove(const char *path, Error **err)
{
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set_errno(err, errno, "remove '%s'", path);
	return 0;
}

/* `name` is relative to `dir_fd`. Depth is bounded by the descriptors a process may have. */
static int remove_at(int dir_fd, const char *name)
{
	auto_fd fd = -1;
	DIR *dir;
	struct dirent *entry;
	int result = 0;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -1;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -1;
	dir = fdopendir(fd);
	if (!dir)
		return -1;
	while (result == 0 && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			result = remove_at(fd, entry->d_name);
	(void)steal_fd(&fd); /* closedir closes it */
	(void)closedir(dir);
	if (result < 0)
		return -1;
	return unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -1 : 0;
}

int fs_remove_tree(const char *path, Error **err)
{
	if (remove_at(AT_FDCWD, path) < 0)
		return error_set_errno(err, errno, "remove '%s'", path);
	return 0;
}

int fs_list(const char *dir, Strv *out_names, Error **err)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;

	if (!stream)
		return errno == ENOENT ? 0 : error_set_errno(err, errno, "list '%s'", dir);
	while ((entry = readdir(stream)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			strv_push(out_names, entry->d_name);
	(void)closedir(stream);
	strv_sort(out_names);
	return 0;
}

int fs_read(const char *path, size_t max, char **out_text, size_t *out_len, Error **err)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	auto_free char *text = NULL;
	struct stat st;
	size_t len = 0;

	if (fd < 0)
		return error_set_errno(err, errno, "read '%s'", path);
	if (fstat(fd, &st) < 0)
		return error_set_errno(err, errno, "look at '%s'", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERR_FAILED, "'%s' is not a regular file", path);
	if ((uint64_t)st.st_size > max)
		return error_set(err, ERR_FAILED, "'%s' is larger than %zu bytes", path, max);
	/* Files of /proc and /sys say they are empty: the size is only a first guess. */
	size_t cap = st.st_size ? (size_t)st.st_size : 4096;

	text = xmalloc(cap + 1);
	for (;;) {
		ssize_t got = read(fd, text + len, cap - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(err, errno, "read '%s'", path);
		if (got == 0)
			break;
		len += (size_t)got;
		if (len < cap)
			continue;
		if (cap >= max)
			break;
		cap = cap * 2 < max ? cap * 2 : max;
		text = xreallocarray(text, cap + 1, 1);
	}
	text[len] = '\0';
	*out_text = steal(&text);
	if (out_len)
		*out_len = len;
	return 0;
}

int fs_read_full(int fd, void *data, size_t len, size_t *out_len, Error **err)
{
	size_t have = 0;

	while (have < len) {
		ssize_t got = read(fd, (char *)data + have, len - have);

		if (cancel_check(err) < 0)
			return -1;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(err, errno, "read");
		if (got == 0)
			break;
		have += (size_t)got;
	}
	*out_len = have;
	return 0;
}

int fs_write_all(int fd, const void *data, size_t len, Error **err)
{
	const char *at = data;

	while (len) {
		ssize_t put = write(fd, at, len);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return error_set_errno(err, errno, "write");
		at += put;
		len -= (size_t)put;
	}
	return 0;
}

static int write_file(const char *path, int flags, const void *data, size_t len, mode_t mode,
		      bool durable, Error **err)
{
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, mode);

	if (fd < 0)
		return error_set_errno(err, errno, "make '%s'", path);
	if (fchmod(fd, mode) < 0)
		return error_set_errno(err, errno, "protect '%s'", path);
	if (fs_write_all(fd, data, len, err) < 0)
		return error_wrap(err, "'%s'", path);
	if (durable && fs_sync_fd(fd, path, err) < 0)
		return -1;
	return 0;
}

int fs_write_new(const char *path, const void *data, size_t len, mode_t mode, Error **err)
{
	return write_file(path, O_EXCL, data, len, mode, true, err);
}

int fs_write_atomic(const char *path, const void *data, size_t len, mode_t mode, bool durable,
		    Error **err)
{
	auto_free char *temporary = xasprintf("%s.tmp", path);
	auto_free char *dir = path_dirname(path);

	if (write_file(temporary, O_TRUNC, data, len, mode, durable, err) < 0 ||
	    fs_rename(temporary, path, err) < 0) {
		(void)unlink(temporary);
		return -1;
	}
	return durable ? fs_sync_path(dir, err) : 0;
}

int fs_sync_fd(int fd, const char *what, Error **err)
{
	if (os_sync_fd(fd) < 0)
		return error_set_errno(err, errno, "write '%s' to stable storage", what);
	return 0;
}

int fs_sync_path(const char *path, Error **err)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return error_set_errno(err, errno, "open '%s'", path);
	return fs_sync_fd(fd, path, err);
}

int fs_rename_new(const char *from, const char *to, Error **err)
{
	if (os_rename_noreplace(from, to) < 0)
		return error_set_errno(err, errno, "rename '%s' to '%s'", from, to);
	return 0;
}

int fs_rename(const char *from, const char *to, Error **err)
{
	if (rename(from, to) < 0)
		return error_set_errno(err, errno, "rename '%s' to '%s'", from, to);
	return 0;
}

/* flock(2) has no deadline of its own: ask again with growing pauses, up to this many milliseconds. */
#define LOCK_PAUSE_MAX_MS 32

/* A lock file is only ever deleted with the whole installation; who waited for that holds a lock on nothing. */
static bool is_still_at(int fd, const char *path)
{
	struct stat held, there;

	return fstat(fd, &held) == 0 && stat(path, &there) == 0 && held.st_dev == there.st_dev &&
	       held.st_ino == there.st_ino;
}

static int lock_fd(int fd, const char *path, LockMode mode, Deadline until, Error **err)
{
	int operation = (mode == LOCK_SHARED ? LOCK_SH : LOCK_EX) | LOCK_NB;

	for (int pause_ms = 1; flock(fd, operation) < 0;) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return error_set_errno(err, errno, "lock '%s'", path);
		if (cancel_check(err) < 0)
			return -1;
		if (deadline_passed(until))
			return 0;
		(void)poll(NULL, 0, deadline_poll_ms(deadline_sooner(until, pause_ms)));
		if (pause_ms < LOCK_PAUSE_MAX_MS)
			pause_ms *= 2;
	}
	return 1;
}

int fs_lock(const char *path, LockMode mode, Deadline until, int *out_fd, Error **err)
{
	for (;;) {
		auto_fd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		int got;

		if (fd < 0)
			return error_set_errno(err, errno, "open lock '%s'", path);
		got = lock_fd(fd, path, mode, until, err);
		if (got <= 0)
			return got;
		if (!is_still_at(fd, path))
			continue;
		*out_fd = steal_fd(&fd);
		return 1;
	}
}

int fs_free_bytes(const char *path, uint64_t *out_bytes, Error **err)
{
	struct statvfs st;

	if (statvfs(path, &st) < 0)
		return error_set_errno(err, errno, "look at the filesystem of '%s'", path);
	*out_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	return 0;
}
