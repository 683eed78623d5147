/*
 * One table of tests, run against every storage back end that this host can have: the contract of
 * backend/storage.h, for real. Filesystems are made on loop devices under /tmp, which takes root;
 * everybody else tests what the filesystem of /tmp can do.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/loop.h"
#include "storage/storages.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

#define MIB	    (1ULL << 20)
#define STORE_BYTES (512 * MIB)
#define IMAGE	    "11111111-0000-4000-8000-000000000001"
#define VM	    "22222222-0000-4000-8000-000000000002"

/* A place to test in: a back end, and the filesystem its state directory is on (NULL: that of /tmp).
 */
typedef struct Host {
	const char *name;
	const StorageBackend *storage;
	const char *filesystem;
} Host;

static const Host hosts[] = {
	{ "reflink on the filesystem of /tmp", &reflink_storage, NULL },
	{ "reflink on btrfs", &reflink_storage, "btrfs" },
	{ "reflink on xfs", &reflink_storage, "xfs" },
	{ "managed btrfs", &btrfs_storage, NULL },
	{ "managed xfs", &xfs_storage, NULL },
};

/* The place of the test under way. */
static const Host *host;
static char root[64];
static StorageSite site;
static char *state_dir, *store_dir;
static char *host_mount;
static const char *unusable; /* why the whole host is skipped */

static int run(const char *program, const char *a, const char *b, const char *c)
{
	auto_command Command cmd = { 0 };
	auto_error err = NULL;

	command_init(&cmd, program, a, b, c, NULL);
	return command_run(&cmd, deadline_in_ms(60000), &err);
}

static void leave_host(void)
{
	if (host) {
		(void)host->storage->deinit(&site, true, NULL);
		if (host_mount)
			(void)umount2(host_mount, 0);
		(void)fs_remove_tree(root, NULL);
	}
	host = NULL;
	free(steal(&state_dir));
	free(steal(&store_dir));
	free(steal(&host_mount));
}

static int make_filesystem(const char *kind)
{
	auto_free char *file = path_join(root, "host.img");
	auto_free char *mkfs = xasprintf("mkfs.%s", kind);
	auto_fd fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	host_mount = path_join(root, "host");
	if (fd < 0 || ftruncate(fd, STORE_BYTES) < 0 || mkdir(host_mount, 0700) < 0)
		return -1;
	return run(mkfs, "-q", file, NULL) < 0 ? -1 : run("mount", "-oloop", file, host_mount);
}

static void enter_host(const Host *next)
{
	auto_error err = NULL;
	auto_free char *reason = NULL;
	bool adopted = true;
	int usable;

	leave_host();
	(void)snprintf(root, sizeof(root), "/tmp/ember-storage-XXXXXX");
	CHECK(mkdtemp(root));
	host = next;
	unusable = NULL;
	if (next->filesystem && (geteuid() != 0 || make_filesystem(next->filesystem) < 0)) {
		unusable = "cannot make and mount that filesystem";
		free(steal(&host_mount));
		return;
	}
	state_dir = path_join(host_mount ? host_mount : root, "state");
	store_dir = path_join(state_dir, "store");
	site = (StorageSite){ .state_dir = state_dir,
			      .store_dir = store_dir,
			      .size_bytes = STORE_BYTES,
			      .instance_id = "ab12" };
	usable = host->storage->probe(&site, &reason, &err);
	CHECK(usable >= 0);
	CHECK(reason && *reason);
	CHECK(!fs_exists(state_dir)); /* a probe leaves nothing behind */
	if (!usable) {
		unusable = "this host cannot have it";
		return;
	}
	CHECK_OK(host->storage->init(&site, &adopted, &err), err);
	CHECK(!adopted);
}

static StoragePool *open_pool(void)
{
	auto_error err = NULL;
	StoragePool *pool = NULL;

	CHECK_OK(host->storage->open(&site, &pool, &err), err);
	return pool;
}

static void fill(const char *path, char byte, size_t bytes)
{
	auto_error err = NULL;
	auto_free char *data = xmalloc(bytes);
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	memset(data, byte, bytes);
	CHECK_OK(fs_write_all(fd, data, bytes, &err), err);
}

static char first_byte(const char *path)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	char byte = 0;

	CHECK(fd >= 0);
	CHECK_INT(read(fd, &byte, 1), 1);
	return byte;
}

/* A sealed image of 4 MiB of 'i'. */
static void import_image(StoragePool *pool)
{
	auto_error err = NULL;
	auto_free char *path = NULL;

	CHECK_OK(host->storage->destroy(pool, IMAGE, &err), err);
	CHECK_OK(host->storage->import_path(pool, IMAGE, &path, &err), err);
	fill(path, 'i', 4 * MIB);
	CHECK_OK(host->storage->import_commit(pool, IMAGE, &err), err);
}

static void remove_all(StoragePool *pool)
{
	auto_strv Strv volumes = { 0 };

	(void)host->storage->list(pool, &volumes, NULL);
	for (size_t i = 0; i < volumes.count; i++)
		(void)host->storage->destroy(pool, volumes.items[i], NULL);
	host->storage->close(pool);
}

static void test_import(void)
{
	auto_error err = NULL;
	auto_free char *path = NULL;
	auto_free char *volume_path = host->storage->path(&site, IMAGE);
	auto_strv Strv volumes = { 0 };
	StoragePool *pool = open_pool();
	uint64_t bytes = 0;
	struct stat st;

	CHECK_OK(host->storage->import_path(pool, IMAGE, &path, &err), err);
	fill(path, 'i', MIB);
	/* An import under way is listed too: reconcile must find what nobody finished. */
	CHECK_OK(host->storage->list(pool, &volumes, &err), err);
	CHECK_INT(volumes.count, 1);
	CHECK_FAILS(host->storage->clone(pool, IMAGE, VM, 0, &err), err, ERR_NOT_FOUND);
	CHECK_OK(host->storage->import_commit(pool, IMAGE, &err), err);
	CHECK(!fs_exists(path));
	CHECK_INT(stat(volume_path, &st), 0);
	CHECK_INT(st.st_mode & 0777, 0444);
	CHECK_OK(host->storage->size(pool, IMAGE, &bytes, &err), err);
	CHECK_INT(bytes, MIB);
	free(steal(&path));
	CHECK_FAILS(host->storage->import_path(pool, IMAGE, &path, &err), err, ERR_EXISTS);
	remove_all(pool);
}

static void test_clone(void)
{
	auto_error err = NULL;
	auto_free char *image_path = host->storage->path(&site, IMAGE);
	auto_free char *vm_path = host->storage->path(&site, VM);
	StoragePool *pool = open_pool();
	uint64_t bytes = 0;
	struct stat st;

	import_image(pool);
	CHECK_OK(host->storage->clone(pool, IMAGE, VM, 64 * MIB, &err), err);
	CHECK_INT(stat(vm_path, &st), 0);
	CHECK_INT(st.st_mode & 0777, 0600);
	CHECK_OK(host->storage->size(pool, VM, &bytes, &err), err);
	CHECK_INT(bytes, 64 * MIB);
	CHECK_INT(first_byte(vm_path), 'i');
	fill(vm_path, 'v', 4096);
	CHECK_INT(first_byte(vm_path), 'v');
	CHECK_INT(first_byte(image_path), 'i');
	CHECK_FAILS(host->storage->clone(pool, IMAGE, VM, 0, &err), err, ERR_EXISTS);
	CHECK_INT(first_byte(vm_path), 'v');
	/* A wish below the source's size keeps the source's. */
	CHECK_OK(host->storage->destroy(pool, VM, &err), err);
	CHECK_OK(host->storage->clone(pool, IMAGE, VM, MIB, &err), err);
	CHECK_OK(host->storage->size(pool, VM, &bytes, &err), err);
	CHECK_INT(bytes, 4 * MIB);
	remove_all(pool);
}

static void test_clone_refused(void)
{
	auto_error err = NULL;
	StoragePool *pool = open_pool();
	auto_strv Strv volumes = { 0 };

	CHECK_FAILS(host->storage->clone(pool, IMAGE, VM, 0, &err), err, ERR_NOT_FOUND);
	import_image(pool);
	CHECK_FAILS(host->storage->clone(pool, IMAGE, "../vm", 0, &err), err, ERR_FAILED);
	CHECK_FAILS(host->storage->destroy(pool, "../../etc", &err), err, ERR_FAILED);
	CHECK_FAILS(host->storage->clone(pool, IMAGE, VM, UINT64_MAX, &err), err, ERR_USAGE);
	CHECK_OK(host->storage->list(pool, &volumes, &err), err);
	CHECK_INT(volumes.count, 1);
	remove_all(pool);
}

static void test_destroy_twice(void)
{
	auto_error err = NULL;
	auto_free char *vm_path = host->storage->path(&site, VM);
	StoragePool *pool = open_pool();

	import_image(pool);
	CHECK_OK(host->storage->clone(pool, IMAGE, VM, 0, &err), err);
	CHECK_OK(host->storage->destroy(pool, IMAGE, &err), err);
	CHECK_INT(first_byte(vm_path), 'i'); /* a clone lives without its source */
	CHECK_OK(host->storage->destroy(pool, VM, &err), err);
	CHECK(!fs_exists(vm_path));
	CHECK_OK(host->storage->destroy(pool, VM, &err), err);
	remove_all(pool);
}

static void test_resize(void)
{
	auto_error err = NULL;
	StoragePool *pool = open_pool();
	uint64_t bytes = 0;

	import_image(pool);
	CHECK_OK(host->storage->clone(pool, IMAGE, VM, 0, &err), err);
	CHECK_OK(host->storage->resize(pool, VM, 32 * MIB, &err), err);
	CHECK_OK(host->storage->resize(pool, VM, 32 * MIB, &err), err);
	CHECK_FAILS(host->storage->resize(pool, VM, MIB, &err), err, ERR_USAGE);
	CHECK_OK(host->storage->size(pool, VM, &bytes, &err), err);
	CHECK_INT(bytes, 32 * MIB);
	CHECK_FAILS(host->storage->resize(pool, "nobody", MIB, &err), err, ERR_NOT_FOUND);
	remove_all(pool);
}

static void test_capacity(void)
{
	auto_error err = NULL;
	StoragePool *pool = open_pool();
	StorageCapacity capacity = { 0 };

	CHECK_OK(host->storage->capacity(pool, &capacity, &err), err);
	CHECK(capacity.total_bytes > 192 * MIB);
	CHECK(capacity.free_bytes > 0 && capacity.free_bytes <= capacity.total_bytes);
	remove_all(pool);
}

/* The store comes back with everything in it, by itself when it has to be mounted. */
static void test_reopen(void)
{
	auto_error err = NULL;
	auto_free char *image_path = host->storage->path(&site, IMAGE);
	auto_free char *reason = NULL;
	StoragePool *pool = open_pool();
	bool adopted = false;

	import_image(pool);
	host->storage->close(pool);
	CHECK_INT(host->storage->check(&site, &reason, &err), 1);
	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	if (host->storage->needs_root) {
		CHECK(!fs_exists(image_path));
		CHECK_INT(host->storage->check(&site, &reason, &err), 0);
		CHECK_CONTAINS(reason, "not mounted");
	}
	pool = open_pool();
	CHECK_INT(first_byte(image_path), 'i');
	CHECK_OK(host->storage->init(&site, &adopted, &err), err);
	CHECK(adopted);
	remove_all(pool);
}

/* Write until nothing fits any more. */
static uint64_t fill_up(const char *path)
{
	auto_free char *data = xmalloc(MIB);
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	uint64_t bytes = 0;

	memset(data, 'x', MIB);
	for (;;) {
		ssize_t put = write(fd, data, MIB);

		if (put < 0)
			break;
		bytes += (uint64_t)put;
	}
	return errno == ENOSPC ? bytes : 0;
}

/* A full store gives errors in words, destroying still works, and then there is room again. */
static void test_full(void)
{
	auto_error err = NULL;
	auto_free char *path = NULL;
	StoragePool *pool;

	if (!host->filesystem && !host->storage->needs_root)
		test_skip("would fill /tmp");
	pool = open_pool();
	import_image(pool);
	CHECK_OK(host->storage->import_path(pool, VM, &path, &err), err);
	CHECK(fill_up(path) > 128 * MIB);
	for (int i = 0; i < 100 && !err; i++) {
		auto_free char *name = xasprintf("33333333-0000-4000-8000-%012d", i);

		(void)host->storage->clone(pool, IMAGE, name, 0, &err);
	}
	if (err) /* clones take so little that some always fit */
		CHECK_CONTAINS(error_text(err), "space");
	error_clear(&err);
	CHECK_OK(host->storage->destroy(pool, VM, &err), err);
	remove_all(pool);
	pool = open_pool();
	import_image(pool);
	remove_all(pool);
}

/* What a child does that is killed at one step. */
static void clone_vm(void)
{
	StoragePool *pool = open_pool();

	(void)host->storage->clone(pool, IMAGE, VM, 64 * MIB, NULL);
	host->storage->close(pool);
}

static void import_vm(void)
{
	auto_free char *path = NULL;
	StoragePool *pool = open_pool();

	if (host->storage->import_path(pool, VM, &path, NULL) == 0) {
		fill(path, 'p', MIB);
		(void)host->storage->import_commit(pool, VM, NULL);
	}
	host->storage->close(pool);
}

static void kill_at(const char *step, void (*act)(void))
{
	int status = 0;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		(void)setenv("EMBER_KILL_AT", step, 1);
		act();
		_exit(0);
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status))
		test_skip("built without failure injection");
}

static void test_killed(void)
{
	static const struct {
		const char *step;
		void (*act)(void);
	} cases[] = {
		{ "storage.clone", clone_vm },	    { "storage.clone.grow", clone_vm },
		{ "storage.clone.sync", clone_vm }, { "storage.seal", import_vm },
		{ "storage.seal.sync", import_vm }, { "storage.seal.commit", import_vm },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_error err = NULL;
		auto_strv Strv volumes = { 0 };
		StoragePool *pool = open_pool();

		import_image(pool);
		kill_at(cases[i].step, cases[i].act);
		CHECK_OK(host->storage->destroy(pool, VM, &err), err);
		CHECK_OK(host->storage->list(pool, &volumes, &err), err);
		CHECK_INT(volumes.count, 1);
		cases[i].act();
		CHECK_OK(host->storage->list(pool, &volumes, &err), err);
		CHECK_INT(volumes.count, 2);
		remove_all(pool);
	}
}

static void failed_clone_leaves_nothing(const char *step)
{
	auto_error err = NULL;
	auto_strv Strv volumes = { 0 };
	StoragePool *pool = open_pool();

	import_image(pool);
	(void)setenv("EMBER_FAIL_AT", step, 1);
	if (host->storage->clone(pool, IMAGE, VM, 64 * MIB, &err) == 0)
		test_skip("built without failure injection");
	(void)unsetenv("EMBER_FAIL_AT");
	error_clear(&err);
	CHECK_OK(host->storage->list(pool, &volumes, &err), err);
	CHECK_INT(volumes.count, 1);
	remove_all(pool);
}

static void test_failed(void)
{
	failed_clone_leaves_nothing("storage.clone");
	failed_clone_leaves_nothing("storage.clone.grow");
	failed_clone_leaves_nothing("storage.clone.sync");
}

static char *store_file(void)
{
	return path_join(state_dir, "store.img");
}

/* How many loop devices have the store's file. */
static int count_loops(void)
{
	auto_free char *file = store_file();
	auto_strv Strv devices = { 0 };
	int count = 0;

	(void)fs_list("/sys/block", &devices, NULL);
	for (size_t i = 0; i < devices.count; i++) {
		auto_free char *path =
			xasprintf("/sys/block/%s/loop/backing_file", devices.items[i]);
		auto_free char *text = NULL;

		if (fs_exists(path) && fs_read(path, 4096, &text, NULL, NULL) == 0 &&
		    str_starts_with(text, file))
			count++;
	}
	return count;
}

/* A device goes with its last user, and whoever looks at all loop devices (udev, another test) is one
 * for a moment. */
static int settled_loops(int wanted)
{
	Deadline until = deadline_in_ms(2000);

	while (count_loops() != wanted && !deadline_passed(until))
		(void)usleep(2000);
	return count_loops();
}

static void test_attached_by_hand(void)
{
	auto_error err = NULL;
	auto_free char *file = NULL;
	auto_fd backing = -1;
	auto_loop_device LoopDevice device = LOOP_DEVICE_NONE;

	file = store_file();
	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	CHECK_INT(settled_loops(0), 0);

	/* The whole file: that device is used, there is never a second one. */
	CHECK_INT(run("losetup", "--find", file, NULL), 0);
	host->storage->close(open_pool());
	CHECK_INT(settled_loops(1), 1);
	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	CHECK_INT(settled_loops(0), 0);

	/* A part of it, or read-only: refused. */
	CHECK_INT(run("losetup", "--find", "--offset=4096", file), 0);
	StoragePool *pool = NULL;
	CHECK_FAILS(host->storage->open(&site, &pool, &err), err, ERR_BUSY);
	CHECK_INT(settled_loops(1), 1);
	backing = open(file, O_RDWR | O_CLOEXEC);
	CHECK_INT(loop_find(backing, &device, &err), 1);
	CHECK(!device.whole_file);
	CHECK_OK(loop_detach(&device, &err), err);
	loop_device_release(&device);
	host->storage->close(open_pool());
	CHECK_INT(settled_loops(1), 1);
}

static void test_opened_at_once(void)
{
	auto_error err = NULL;

	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	for (int i = 0; i < 8; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid == 0) {
			StoragePool *pool = NULL;

			_exit(host->storage->open(&site, &pool, NULL) < 0);
		}
	}
	for (int i = 0; i < 8; i++) {
		int status = -1;

		CHECK(wait(&status) > 0);
		CHECK_INT(status, 0);
	}
	CHECK_INT(settled_loops(1), 1);
	/* One unmount is enough: it was mounted once. */
	CHECK_INT(umount2(store_dir, 0), 0);
	CHECK_INT(settled_loops(0), 0);
	host->storage->close(open_pool());
}

static void test_in_use(void)
{
	auto_error err = NULL;
	StoragePool *pool;

	pool = open_pool();
	import_image(pool);
	{
		auto_free char *path = host->storage->path(&site, IMAGE);
		auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);

		CHECK(fd >= 0);
		CHECK_FAILS(host->storage->deinit(&site, true, &err), err, ERR_BUSY);
	}
	CHECK(fs_exists(store_dir));
	remove_all(pool);
}

/* A power cut: what the store's file holds at the moment when clone() has returned. */
static void test_power_cut(void)
{
	auto_error err = NULL;
	auto_free char *file = NULL;
	auto_free char *copy = path_join(root, "cut.img");
	auto_free char *vm_path = host->storage->path(&site, VM);
	StorageSite after = site;
	StoragePool *pool;
	uint64_t bytes = 0;

	file = store_file();
	pool = open_pool();
	import_image(pool);
	CHECK_OK(host->storage->clone(pool, IMAGE, VM, 64 * MIB, &err), err);
	CHECK_INT(run("cp", "--sparse=always", file, copy), 0);
	remove_all(pool);
	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	after.path = copy;
	CHECK_OK(host->storage->open(&after, &pool, &err), err);
	CHECK_OK(host->storage->size(pool, VM, &bytes, &err), err);
	CHECK_INT(bytes, 64 * MIB);
	CHECK_INT(first_byte(vm_path), 'i');
	remove_all(pool);
	CHECK_OK(host->storage->deinit(&after, true, &err), err);
	host->storage->close(open_pool());
}

/* Another installation's store, another filesystem, and plain data are never formatted. */
static void test_foreign(void)
{
	auto_error err = NULL;
	auto_free char *reason = NULL;
	auto_free char *file = path_join(root, "foreign.img");
	StorageSite other = site;
	const StorageBackend *sibling = host->storage == &xfs_storage ? &btrfs_storage
								      : &xfs_storage;
	bool adopted = false;

	other.instance_id = "cd34";
	CHECK_FAILS(host->storage->init(&other, &adopted, &err), err, ERR_EXISTS);
	CHECK_INT(host->storage->probe(&other, &reason, &err), 0);
	CHECK_CONTAINS(reason, "ab12");
	free(steal(&reason));
	CHECK_INT(sibling->probe(&site, &reason, &err), 0);
	CHECK_FAILS(sibling->init(&site, &adopted, &err), err, ERR_EXISTS);

	other = site;
	other.path = file;
	fill(file, 'd', 4096);
	CHECK_INT(truncate(file, STORE_BYTES), 0);
	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	CHECK_FAILS(host->storage->init(&other, &adopted, &err), err, ERR_EXISTS);
	CHECK_INT(first_byte(file), 'd');
	CHECK_INT(truncate(file, 0), 0);
	CHECK_INT(truncate(file, STORE_BYTES), 0);
	CHECK_INT(run("mke2fs", "-q", file, NULL), 0);
	CHECK((host->storage->init(&other, &adopted, &err)) < 0);
	CHECK_CONTAINS(error_text(err), "ext4");
	error_clear(&err);
	/* Empty: formatted in place, kept at deinit, gone with --purge. */
	CHECK_INT(truncate(file, 0), 0);
	CHECK_INT(truncate(file, STORE_BYTES), 0);
	CHECK_OK(host->storage->init(&other, &adopted, &err), err);
	CHECK(!adopted);
	CHECK_OK(host->storage->deinit(&other, false, &err), err);
	CHECK(fs_exists(file));
	CHECK_OK(host->storage->deinit(&other, true, &err), err);
	CHECK(!fs_exists(file));
	host->storage->close(open_pool());
}

/* A device is formatted in place and never wiped; a purge takes our volumes off it. */
static void test_device(void)
{
	auto_error err = NULL;
	auto_free char *file = path_join(root, "device.img");
	auto_free char *reason = NULL;
	auto_strv Strv volumes = { 0 };
	auto_loop_device LoopDevice device = LOOP_DEVICE_NONE;
	auto_fd fd = -1;
	StorageSite there = site;
	StoragePool *pool = NULL;
	bool adopted = true;

	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK_INT(ftruncate(fd, STORE_BYTES), 0);
	close_fd(&fd);
	CHECK_OK(loop_attach(file, &device, &err), err);
	there.path = device.path;
	CHECK_INT(run("mke2fs", "-q", device.path, NULL), 0);
	CHECK_INT(host->storage->probe(&there, &reason, &err), 0);
	CHECK_CONTAINS(reason, "ext4");
	CHECK_CONTAINS(reason, "wipefs");
	CHECK_FAILS(host->storage->init(&there, &adopted, &err), err, ERR_EXISTS);
	/* What the hint says to type. */
	CHECK_INT(run("wipefs", "-a", device.path, NULL), 0);
	CHECK_FAILS(host->storage->init(&there, &adopted, &err), err, ERR_EXISTS);
	{
		auto_free char *zeros = xcalloc(1, MIB);

		CHECK_INT(pwrite(device.fd, zeros, MIB, 0), MIB);
	}
	CHECK_OK(host->storage->init(&there, &adopted, &err), err);
	CHECK(!adopted);
	CHECK_OK(host->storage->open(&there, &pool, &err), err);
	import_image(pool);
	host->storage->close(pool);
	CHECK_OK(host->storage->deinit(&there, false, &err), err);
	CHECK_OK(host->storage->init(&there, &adopted, &err), err);
	CHECK(adopted);
	CHECK_OK(host->storage->deinit(&there, true, &err), err);
	CHECK_OK(host->storage->open(&there, &pool, &err), err);
	CHECK_OK(host->storage->list(pool, &volumes, &err), err);
	CHECK_INT(volumes.count, 0);
	host->storage->close(pool);
	CHECK_OK(host->storage->deinit(&there, true, &err), err);
	host->storage->close(open_pool());
}

static void init_store(void)
{
	bool adopted;

	(void)host->storage->init(&site, &adopted, NULL);
}

/* Last: it begins and ends without a store. */
static void test_init_killed(void)
{
	static const char *const steps[] = { "storage.format", "storage.format.commit",
					     "storage.attach", "storage.mount" };
	auto_free char *file = NULL;
	auto_free char *temporary = NULL;

	file = store_file();
	temporary = xasprintf("%s.new", file);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		auto_error err = NULL;
		bool adopted;

		CHECK_OK(host->storage->deinit(&site, true, &err), err);
		CHECK(!fs_exists(file));
		kill_at(steps[i], init_store);
		CHECK_INT(settled_loops(0), 0);
		CHECK_OK(host->storage->init(&site, &adopted, &err), err);
		CHECK_INT(settled_loops(1), 1);
		CHECK(!fs_exists(temporary));
		CHECK_OK(host->storage->deinit(&site, true, &err), err);
		CHECK_OK(host->storage->deinit(&site, true, &err), err);
		(void)setenv("EMBER_FAIL_AT", steps[i], 1);
		CHECK_FAILS(host->storage->init(&site, &adopted, &err), err, ERR_FAILED);
		(void)unsetenv("EMBER_FAIL_AT");
		CHECK(!fs_exists(file) && !fs_exists(temporary));
		CHECK_INT(settled_loops(0), 0);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
	bool needs_mount; /* is about stores that ember mounts */
} contract[] = {
	{ "an import becomes a sealed volume", test_import, false },
	{ "a clone shares and diverges", test_clone, false },
	{ "what cannot be cloned is refused", test_clone_refused, false },
	{ "destroy, twice", test_destroy_twice, false },
	{ "resize grows only", test_resize, false },
	{ "capacity", test_capacity, false },
	{ "a store comes back with its volumes", test_reopen, false },
	{ "a full disk", test_full, false },
	{ "killed at each step", test_killed, false },
	{ "failed at each step", test_failed, false },
	{ "a device attached by hand", test_attached_by_hand, true },
	{ "eight open it at once", test_opened_at_once, true },
	{ "a store in use stays", test_in_use, true },
	{ "a clone survives a power cut", test_power_cut, true },
	{ "what is not ours is never formatted", test_foreign, true },
	{ "a device", test_device, true },
	{ "init killed at each step", test_init_killed, true },
};

/* Runs the next cell of the matrix: test_main goes through it in order. */
static void run_next(void)
{
	static size_t next;
	size_t cell = next++;
	size_t row = cell % ARRAY_SIZE(contract);

	(void)unsetenv("EMBER_FAIL_AT");
	if (row == 0)
		enter_host(&hosts[cell / ARRAY_SIZE(contract)]);
	if (unusable)
		test_skip(unusable);
	if (contract[row].needs_mount && !host->storage->needs_root)
		test_skip("nothing to mount");
	contract[row].run();
}

int main(void)
{
	static Test matrix[ARRAY_SIZE(hosts) * ARRAY_SIZE(contract)];
	static char names[ARRAY_SIZE(matrix)][96];

	for (size_t i = 0; i < ARRAY_SIZE(matrix); i++) {
		(void)snprintf(names[i], sizeof(names[i]), "%s: %s",
			       hosts[i / ARRAY_SIZE(contract)].name,
			       contract[i % ARRAY_SIZE(contract)].name);
		matrix[i] = (Test){ names[i], run_next };
	}
	(void)atexit(leave_host);
	return test_main(matrix, ARRAY_SIZE(matrix));
}
