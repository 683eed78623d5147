#include "state/store.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/uuid.h"
#include "state/records.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/os.h"

/* sockaddr_un's sun_path holds 108 bytes on Linux and 104 on macOS, NUL included. Sockets are RUN/ID8/keeper.sock. */
#define RUN_DIR_MAX (104 - (int)sizeof("/12345678/keeper.sock"))

/* Long enough for a clone or a delete ahead of us, short enough to say that somebody is stopping a VM. */
#define OP_LOCK_PATIENCE_MS 3000

static const char *const directories[] = { "locks", "vms", "images", "kernels", "network",
					   "store", "tmp", "trash",  "blobs" };

int store_default_dir(const char *flag, char **out_dir, Error **err)
{
	const char *env = getenv("EMBER_STATE_DIR"), *xdg = getenv("XDG_STATE_HOME"),
		   *home = getenv("HOME");

	if (flag && !*flag) {
		error_set(err, ERR_USAGE, "--state-dir is empty");
		return error_hint(err, "name a directory: --state-dir ~/ember");
	}
	if (flag)
		return path_absolute(flag, out_dir, err);
	if (!str_is_empty(env))
		return path_absolute(env, out_dir, err);
	if (geteuid() == 0) {
		*out_dir = xstrdup("/var/lib/ember");
		return 0;
	}
	if (!str_is_empty(xdg) && *xdg == '/') {
		*out_dir = path_join(xdg, "ember");
		return 0;
	}
	if (str_is_empty(home) || *home != '/') {
		error_set(err, ERR_FAILED, "no state directory: HOME is not set");
		return error_hint(err, "name one: --state-dir DIR");
	}
	*out_dir = path_join(home, ".local/state/ember");
	return 0;
}

/* Where sockets may live: short, private, gone after a reboot. */
static char *run_base(void)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		return xstrdup("/run/ember");
	if (!str_is_empty(xdg) && *xdg == '/' && access(xdg, W_OK) == 0)
		return path_join(xdg, "ember");
	return xasprintf("/tmp/ember-%u", (unsigned)geteuid());
}

int store_open(const char *dir, Store *out_store, Error **err)
{
	auto_free char *base = run_base();
	/* One spelling for one place: the keeper is known by the path of its plan. */
	char *real = realpath(dir, NULL);
	Store store = { .dir = real ? real : xstrdup(dir) };
	size_t len = strlen(store.dir);

	while (len > 1 && store.dir[len - 1] == '/')
		store.dir[--len] = '\0';
	store.run_dir = xasprintf("%s/%08x", base, (unsigned)(hash_text(store.dir) & 0xffffffff));
	if (strlen(store.run_dir) > (size_t)RUN_DIR_MAX) {
		error_set(err, ERR_USAGE, "the runtime directory '%s' is too long for socket names",
			  store.run_dir);
		error_hint(err, "shorten it: XDG_RUNTIME_DIR=/tmp/run ember ...");
		store_release(&store);
		return -1;
	}
	*out_store = store;
	return 0;
}

void store_release(Store *store)
{
	free(store->dir);
	free(store->run_dir);
	*store = (Store){ 0 };
}

bool store_is_initialized(const Store *store)
{
	auto_free char *path = store_path(store, "config.json");

	return fs_exists(path);
}

/* A directory of ours in a place that others may write to: nobody may have put one there before us. */
static int make_private_dir(const char *path, Error **err)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set_errno(err, errno, "make directory '%s'", path);
	if (lstat(path, &st) < 0)
		return error_set_errno(err, errno, "look at '%s'", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077)) {
		error_set(err, ERR_DENIED, "'%s' is not a private directory of this user", path);
		return error_hint(err,
				  "remove it, or use another place: XDG_RUNTIME_DIR=DIR ember ...");
	}
	return 0;
}

/* Written before anything else, so that what has our names but not this file is somebody else's. */
#define MARKER "ember.state"

static bool has_marker(const Store *store)
{
	auto_free char *path = store_path(store, MARKER);

	return fs_exists(path);
}

static int refuse_foreign(const Store *store, Error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		auto_free char *path = store_path(store, directories[i]);

		/* Asked again, because another command may be making the installation right now. */
		if (!fs_exists(path) || has_marker(store))
			continue;
		error_set(err, ERR_EXISTS, "'%s' is in the way: it is not ember's", path);
		return error_hint(err, "choose another state directory: --state-dir DIR");
	}
	return 0;
}

/* Others must not be able to put things where we trust what we read: vms/NAME/launch.json is a command line. */
static int check_own(const char *path, Error **err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return error_set_errno(err, errno, "look at '%s'", path);
	if (st.st_uid == geteuid() && !(st.st_mode & 022))
		return 0;
	error_set(err, ERR_DENIED, "'%s' belongs to somebody else, or others may write to it",
		  path);
	return error_hint(err, "choose another state directory: --state-dir DIR");
}

int store_make_dirs(const Store *store, Error **err)
{
	auto_free char *marker = store_path(store, MARKER);
	static const char text[] =
		"This directory is ember's. It is taken down by: ember deinit --purge\n";

	if (fs_mkdir_all(store->dir, 0700, err) < 0 || check_own(store->dir, err) < 0)
		return -1;
	if (!has_marker(store) &&
	    (refuse_foreign(store, err) < 0 ||
	     fs_write_atomic(marker, text, sizeof(text) - 1, 0600, false, err) < 0))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		auto_free char *path = store_path(store, directories[i]);

		/* The mount point of a managed store is its filesystem's root. */
		if (strcmp(directories[i], "store") != 0 ? make_private_dir(path, err) < 0
							 : fs_mkdir(path, 0700, err) < 0)
			return -1;
	}
	return 0;
}

int store_check_mark(const Store *store, Error **err)
{
	if (has_marker(store))
		return 0;
	error_set(err, ERR_STATE, "'%s' has no mark of ember", store->dir);
	return error_hint(err, "remove it by hand if nothing in it is needed: rm -r '%s'",
			  store->dir);
}

int store_unmake(const Store *store, bool with_dir, Error **err)
{
	auto_free char *marker = store_path(store, MARKER);
	auto_free char *locks = store_path(store, "locks");

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		auto_free char *path = store_path(store, directories[i]);

		if (strcmp(directories[i], "locks") != 0 && rmdir(path) < 0 && errno != ENOENT)
			return error_set_errno(err, errno, "remove '%s'", path);
	}
	if (fs_remove_tree(locks, err) < 0 || fs_remove(marker, err) < 0)
		return -1;
	if (with_dir)
		(void)rmdir(store->dir); /* stays when something else is in it */
	return 0;
}

#define KEPT "config.kept.json"

int store_keep(const Store *store, Error **err)
{
	auto_free char *config = store_path(store, "config.json");
	auto_free char *kept = store_path(store, KEPT);

	return fs_rename(config, kept, err);
}

bool store_has_kept(const Store *store)
{
	auto_free char *kept = store_path(store, KEPT);

	return fs_exists(kept);
}

int store_recall(const Store *store, Error **err)
{
	auto_free char *config = store_path(store, "config.json");
	auto_free char *kept = store_path(store, KEPT);

	return fs_rename(kept, config, err);
}

int store_purge(const Store *store, Error **err)
{
	auto_free char *marker = store_path(store, MARKER);
	auto_free char *config = store_path(store, "config.json");
	auto_free char *kept = store_path(store, KEPT);
	auto_free char *locks = store_path(store, "locks");

	if (store_check_mark(store, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		auto_free char *path = store_path(store, directories[i]);

		if (strcmp(directories[i], "locks") != 0 && fs_remove_tree(path, err) < 0)
			return -1;
	}
	/* config.json late, so that a purge that is cut off can be repeated; the mark after all that it vouches for. */
	if (fs_remove(kept, err) < 0 || fs_remove(config, err) < 0 ||
	    fs_remove_tree(locks, err) < 0 || fs_remove(marker, err) < 0)
		return -1;
	(void)rmdir(store->dir); /* stays when something else is in it */
	return 0;
}

int store_make_run_dir(const Store *store, const char *vm_id, char **out_dir, Error **err)
{
	auto_free char *id = vm_id ? uuid_short(vm_id) : NULL;
	auto_free char *base = path_dirname(store->run_dir);
	auto_free char *dir = id ? path_join(store->run_dir, id) : xstrdup(store->run_dir);

	if (make_private_dir(base, err) < 0 || make_private_dir(store->run_dir, err) < 0 ||
	    make_private_dir(dir, err) < 0)
		return -1;
	*out_dir = steal(&dir);
	return 0;
}

char *store_stuck_mark(const char *vm_run_dir)
{
	return path_join(vm_run_dir, "stuck");
}

bool store_vm_is_stuck(const Store *store, const char *vm_id)
{
	auto_free char *id = uuid_short(vm_id);
	auto_free char *dir = path_join(store->run_dir, id);
	auto_free char *mark = store_stuck_mark(dir);

	return fs_exists(mark);
}

int store_remove_run_dir(const Store *store, const char *vm_id, Error **err)
{
	auto_free char *id = uuid_short(vm_id);
	auto_free char *dir = path_join(store->run_dir, id);

	return fs_remove_tree(dir, err);
}

char *store_path(const Store *store, const char *relative)
{
	return path_join(store->dir, relative);
}

char *store_vm_dir(const Store *store, const char *name)
{
	return xasprintf("%s/vms/%s", store->dir, name);
}

char *store_vm_file(const Store *store, const char *name, const char *file)
{
	return xasprintf("%s/vms/%s/%s", store->dir, name, file);
}

char *store_image_dir(const Store *store, const char *name)
{
	return xasprintf("%s/images/%s", store->dir, name);
}

char *store_tmp_dir(const Store *store, const char *kind, const char *name)
{
	return xasprintf("%s/tmp/%s:%s", store->dir, kind, name);
}

char *store_work_dir(const Store *store, const char *kind, const char *name, const char *id)
{
	return xasprintf("%s/tmp/%s:%s:%.8s", store->dir, kind, name, id);
}

char *store_trash_dir(const Store *store, const char *kind, const char *name, const char *id)
{
	return xasprintf("%s/trash/%s:%s:%.8s", store->dir, kind, name, id);
}

int store_lock(const Store *store, const char *kind, const char *name, LockMode mode,
	       Deadline until, int *out_fd, Error **err)
{
	auto_free char *path = xasprintf("%s/locks/%s-%s.lock", store->dir, kind, name);

	return fs_lock(path, mode, until, out_fd, err);
}

static int lock_or_busy(const Store *store, const char *kind, const char *name, LockMode mode,
			int *out_fd, Error **err)
{
	int got = store_lock(store, kind, name, mode, deadline_in_ms(OP_LOCK_PATIENCE_MS), out_fd,
			     err);
	const char *what = strcmp(kind, "kernels") != 0 ? kind : "kernel";

	if (got < 0)
		return error_wrap(err, "lock %s '%s'", what, name);
	if (got)
		return 0;
	error_set(err, ERR_BUSY, "%s '%s' is busy: another ember command is working on it", what,
		  name);
	return error_hint(err, "wait for it to finish, then try again");
}

int store_lock_op(const Store *store, const char *kind, const char *name, int *out_fd, Error **err)
{
	return lock_or_busy(store, kind, name, LOCK_EXCLUSIVE, out_fd, err);
}

int store_lock_pair(const Store *store, const char *kind, const char *one, const char *other,
		    int *out_first, int *out_second, Error **err)
{
	bool in_order = strcmp(one, other) < 0;

	if (store_lock_op(store, kind, in_order ? one : other, out_first, err) < 0)
		return -1;
	if (str_equal(one, other))
		return 0;
	return store_lock_op(store, kind, in_order ? other : one, out_second, err);
}

int store_lock_source(const Store *store, const char *kind, const char *name, int *out_fd,
		      Error **err)
{
	return lock_or_busy(store, kind, name, LOCK_SHARED, out_fd, err);
}

int store_read_config(const Store *store, Config *out_config, Error **err)
{
	auto_free char *path = store_path(store, "config.json");
	json_auto_t *doc = NULL;

	if (!fs_exists(path)) {
		error_set(err, ERR_NOT_FOUND, "ember is not initialized in '%s'", store->dir);
		return error_hint(err, "run: ember init");
	}
	if (json_read_file(path, &doc, err) < 0)
		return error_hint(err, "restore '%s', or start again: ember deinit", path);
	if (config_from_json(doc, out_config, err) < 0)
		return error_wrap(err, "read '%s'", path);
	return 0;
}

int store_write_config(const Store *store, const Config *config, Error **err)
{
	auto_free char *path = store_path(store, "config.json");
	json_auto_t *doc = config_to_json(config);

	return json_write_file(path, doc, true, err);
}
