#include "ops/out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "ops/reconcile.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/os.h"

static int open_stdout(OutFile *file, Error **err)
{
	if (isatty(STDOUT_FILENO)) {
		error_set(err, ERR_USAGE, "an archive is nothing for a terminal");
		return error_hint(err, "name a file, or pipe it into something");
	}
	file->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	return file->fd < 0 ? error_set_errno(err, errno, "open standard output") : 0;
}

static int exists_already(const char *path, Error **err)
{
	error_set(err, ERR_EXISTS, "'%s' exists already", path);
	return error_hint(err, "choose another name, or replace it: --force");
}

static int check_target(const char *path, bool replace, Error **err)
{
	struct stat st;

	if (!*path) {
		error_set(err, ERR_USAGE, "the name of the file is empty");
		return error_hint(err, "name a file, or - for standard output");
	}
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : error_set_errno(err, errno, "look at '%s'", path);
	if (S_ISREG(st.st_mode))
		return replace ? 0 : exists_already(path, err);
	error_set(err, ERR_EXISTS, "'%s' is %s", path,
		  S_ISDIR(st.st_mode)	? "a directory"
		  : S_ISLNK(st.st_mode) ? "a symbolic link"
					: "not a regular file");
	return error_hint(err, "name a file, or - for standard output");
}

static int open_aside(OutFile *file, const char *dir, Error **err)
{
	file->fd = os_open_nameless(dir, 0600);
	if (file->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
		file->aside = xasprintf("%s.ember-XXXXXX", file->path);
		file->fd = mkostemp(file->aside, O_CLOEXEC);
		if (file->fd < 0)
			str_assign(&file->aside, NULL);
	}
	if (file->fd >= 0)
		return 0;
	error_set_errno(err, errno, "make '%s'", file->path);
	return errno == ENOENT ? error_hint(err, "make its directory first: mkdir -p '%s'", dir)
			       : -1;
}

int out_file_open(const char *path, bool replace, OutFile *out_file, Error **err)
{
	auto_out_file OutFile file = { .fd = -1, .replace = replace };
	auto_free char *dir = path_dirname(path);

	if (!strcmp(path, "-")) {
		if (open_stdout(&file, err) < 0)
			return -1;
	} else {
		if (check_target(path, replace, err) < 0 || failpoint("image.out.make", err) < 0)
			return -1;
		file.path = xstrdup(path);
		if (open_aside(&file, dir, err) < 0)
			return -1;
	}
	*out_file = file;
	file = OUT_FILE_NONE;
	return 0;
}

/* The mode that the user's shell would have given it. */
static mode_t usual_mode(void)
{
	mode_t mask = umask(0);

	(void)umask(mask);
	return 0666 & ~mask;
}

/* A second name for a file that has none. It is always the same one, so that what a kill leaves is gone with the next
 * attempt. */
static int name_aside(OutFile *file, Error **err)
{
	auto_free char *aside = xasprintf("%s.ember-new", file->path);

	if (os_name_file(file->fd, aside) < 0 &&
	    (errno != EEXIST || unlink(aside) < 0 || os_name_file(file->fd, aside) < 0))
		return error_set_errno(err, errno, "name '%s'", aside);
	file->aside = steal(&aside);
	return failpoint("image.out.replace", err);
}

/* NFS, 9p and many a filesystem in user space cannot rename without replacing; a link never replaces. */
static int rename_new(const char *from, const char *to)
{
	if (os_rename_noreplace(from, to) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
		return -1;
	return link(from, to) < 0 ? -1 : unlink(from);
}

/* A file without a name gets one; in place of another only by way of a second name. */
static int give_name(OutFile *file, Error **err)
{
	int result;

	if (!file->aside && !file->replace) {
		if (os_name_file(file->fd, file->path) == 0)
			return 0;
		return errno == EEXIST ? exists_already(file->path, err)
				       : error_set_errno(err, errno, "name '%s'", file->path);
	}
	if (!file->aside && name_aside(file, err) < 0)
		return -1;
	result = file->replace ? rename(file->aside, file->path)
			       : rename_new(file->aside, file->path);
	if (result < 0)
		return errno == EEXIST ? exists_already(file->path, err)
				       : error_set_errno(err, errno, "name '%s'", file->path);
	str_assign(&file->aside, NULL);
	return 0;
}

int out_file_commit(Context *ctx, OutFile *file, Error **err)
{
	auto_free char *dir = NULL;

	if (!file->path)
		return 0;
	dir = path_dirname(file->path);
	if (fchmod(file->fd, usual_mode()) < 0)
		return error_set_errno(err, errno, "set the mode of '%s'", file->path);
	if (fs_sync_fd(file->fd, file->path, err) < 0 || failpoint("image.out.commit", err) < 0 ||
	    give_name(file, err) < 0)
		return -1;
	(void)change_end(ctx, dir);
	return 0;
}

void out_file_release(OutFile *file)
{
	close_fd(&file->fd);
	if (file->aside)
		(void)unlink(file->aside);
	free(file->aside);
	free(file->path);
	*file = OUT_FILE_NONE;
}
