/*
 * Copying one file between here and a guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/client.h"
#include "ops/guest.h"
#include "ops/guest_connect.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

#define AGENT_WAIT_MS 30000

/* One side of a copy. */
typedef struct Side {
	char *vm;   /* NULL: local */
	char *path; /* "-": stdin or stdout (local only); absolute in a guest */
} Side;

static void side_release(Side *side)
{
	free(side->vm);
	free(side->path);
	*side = (Side){ 0 };
}

/* "vm:path" when what stands before the first colon can be a name; "./a:b" and "/a:b" are local files. */
static int parse_side(const char *text, Side *out_side, Error **err)
{
	const char *colon = strchr(text, ':');
	auto_free char *name = colon ? xstrndup(text, (size_t)(colon - text)) : NULL;

	if (!name || !*name || strchr(name, '/') || name_check("vm", name, NULL) < 0) {
		out_side->path = xstrdup(text);
		return 0;
	}
	if (!colon[1]) {
		error_set(err, ERR_USAGE, "'%s' names no path in the vm", text);
		return error_hint(err, "write it like %s:/tmp/", name);
	}
	out_side->path = colon[1] == '/' ? xstrdup(colon + 1) : xasprintf("/%s", colon + 1);
	out_side->vm = steal(&name);
	return 0;
}

static int refuse_directory(const char *path, const char *vm, Error **err)
{
	error_set(err, ERR_UNSUPPORTED, "'%s' is a directory; ember cp copies single files", path);
	return error_hint(err, "stream it: tar c %s | ember exec -i %s -- tar x -C /", path, vm);
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	report_bytes(arg, done, total);
}

static int open_local_source(const Side *from, const char *vm, int *out_fd, struct stat *out_st,
			     Error **err)
{
	bool is_stdin = !strcmp(from->path, "-");
	auto_fd fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
			      : open(from->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, out_st) < 0)
		return error_set_errno(err, errno, "open '%s'", from->path);
	if (S_ISDIR(out_st->st_mode))
		return refuse_directory(from->path, vm, err);
	*out_fd = steal_fd(&fd);
	return 0;
}

static int put(Context *ctx, Client *client, const Side *from, const Side *to, uint64_t *out_bytes,
	       Error **err)
{
	bool is_stdin = !strcmp(from->path, "-");
	auto_fd fd = -1;
	struct stat st;

	if (open_local_source(from, to->vm, &fd, &st, err) < 0)
		return -1;
	PutRequest request = {
		.fd = fd,
		.path = to->path,
		.name = is_stdin ? NULL : path_basename(from->path),
		.mode = is_stdin ? 0644 : st.st_mode & 07777,
		.has_size = !is_stdin && S_ISREG(st.st_mode),
		.size_bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0,
		.progress = on_progress,
		.arg = ctx,
	};

	return client_put_file(client, &request, out_bytes, err);
}

/* Where a file from the guest goes: written aside and renamed, unless the target is a pipe, a device or stdout. */
typedef struct Target {
	Context *ctx;
	char *path;
	char *aside; /* NULL: written in place */
	int fd;
} Target;

static void target_release(Target *target)
{
	close_fd(&target->fd);
	if (target->aside)
		(void)unlink(target->aside);
	free(target->aside);
	free(target->path);
}

/* Links are followed: the copy replaces what they name, never the link itself. */
static char *resolve(char *path)
{
	char *real = realpath(path, NULL);

	if (!real)
		return path;
	free(path);
	return real;
}

/* Renaming over these would replace the device, or the window to it, by a file. */
static bool is_special(const char *path)
{
	struct stat st;

	return (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) || str_starts_with(path, "/dev/") ||
	       str_starts_with(path, "/proc/");
}

static int target_open(Target *target, const char *path, const char *source, Error **err)
{
	struct stat st;

	if (!strcmp(path, "-")) {
		target->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
		return target->fd < 0 ? error_set_errno(err, errno, "open standard output") : 0;
	}
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		target->path = path_join(path, path_basename(source));
	else
		target->path = xstrdup(path);
	if (stat(target->path, &st) == 0 && S_ISDIR(st.st_mode)) {
		error_set(err, ERR_EXISTS, "'%s' is a directory", target->path);
		return error_hint(err, "give the copy another name");
	}
	/* As it was named: behind /dev/stdout is a plain file at times. */
	if (is_special(target->path)) {
		target->fd = open(target->path, O_WRONLY | O_CLOEXEC);
	} else {
		target->path = resolve(target->path);
		target->aside = xasprintf("%s.ember-XXXXXX", target->path);
		target->fd = mkostemp(target->aside, O_CLOEXEC);
	}
	if (target->fd >= 0)
		return 0;
	str_assign(&target->aside, NULL);
	return error_set_errno(err, errno, "write '%s'", target->path);
}

/* The guest's mode, without what would make its file powerful here. */
static int on_begin(void *arg, const GuestFile *file, Error **err)
{
	const Target *target = arg;

	if (target->aside && fchmod(target->fd, file->mode & 0777) < 0)
		return error_set_errno(err, errno, "set the mode of '%s'", target->path);
	return 0;
}

static void on_get_progress(void *arg, uint64_t done, uint64_t total)
{
	const Target *target = arg;

	report_bytes(target->ctx, done, total);
}

static int get(Context *ctx, Client *client, const Side *from, const Side *to, uint64_t *out_bytes,
	       Error **err)
{
	CLEANUP(target_release) Target target = { .ctx = ctx, .fd = -1 };
	GuestFile file = { 0 };

	if (target_open(&target, to->path, from->path, err) < 0)
		return -1;
	GetRequest request = { .path = from->path,
			       .fd = target.fd,
			       .begin = on_begin,
			       .progress = on_get_progress,
			       .arg = &target };

	if (client_get_file(client, &request, &file, err) < 0)
		return -1;
	*out_bytes = file.size_bytes;
	if (!target.aside)
		return 0;
	if (failpoint("guest.copy.rename", err) < 0 ||
	    fs_rename(target.aside, target.path, err) < 0)
		return -1;
	str_assign(&target.aside, NULL);
	return 0;
}

int ops_guest_copy(Context *ctx, const char *source, const char *destination, uint64_t *out_bytes,
		   Error **err)
{
	CLEANUP(side_release) Side from = { 0 };
	CLEANUP(side_release) Side to = { 0 };
	auto_vm Vm vm = { 0 };
	auto_client client = NULL;
	int result;

	if (parse_side(source, &from, err) < 0 || parse_side(destination, &to, err) < 0)
		return -1;
	if (!from.vm == !to.vm) {
		error_set(err, ERR_USAGE,
			  from.vm ? "both paths are in a vm" : "neither path specifies a vm");
		return error_hint(err, "name the vm on one side: ember cp FILE VM:/path");
	}
	/* A local file that cannot be read is found out before the guest is asked. */
	if (to.vm && strcmp(from.path, "-") != 0 && !fs_exists(from.path)) {
		error_set(err, ERR_NOT_FOUND, "'%s' does not exist", from.path);
		return error_hint(err, "see what is there: ls");
	}
	if (guest_connect(ctx, from.vm ? from.vm : to.vm, AGENT_WAIT_MS, &vm, &client, err) < 0)
		return -1;
	report_step(ctx, "copy '%s'", source);
	result = to.vm ? put(ctx, client, &from, &to, out_bytes, err)
		       : get(ctx, client, &from, &to, out_bytes, err);
	if (result < 0)
		return error_wrap(err, "copy '%s' to '%s'", source, destination);
	report_done(ctx);
	return 0;
}
