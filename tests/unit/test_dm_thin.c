/*
 * What dm-thin promises beyond the contract of test_storage of a store as a whole: how it is made, found again, grown and
 * taken away, each cut off at every step. Its volumes are in test_dm_thin_volumes.c.
 */
#include "thin_place.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/dm.h"
#include "storage/loop.h"
#include "util/fs.h"
#include "util/mem.h"

const char instance_id[] = "cd34";
static const StorageBackend *const thin = &dm_thin_storage;

static void init_store(void)
{
	bool adopted;

	(void)thin->init(&site, &adopted, NULL);
}

static void test_init_cut_off(void)
{
	static const char *const steps[] = { "storage.thin.label",     "storage.thin.label.commit",
					     "storage.thin.loop",      "storage.thin.meta",
					     "storage.thin.data",      "storage.thin.format",
					     "storage.thin.formatted", "storage.thin.pool" };

	enter();
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		auto_error err = NULL;
		auto_free char *prefix = device_prefix();
		auto_free char *file = path_join(site.state_dir, "store.img");
		auto_strv Strv left = { 0 };
		StoragePool *pool;
		bool adopted;

		kill_at(steps[i], init_store);
		(void)init();
		pool = open_pool();
		import_image(pool);
		CHECK_INT(first_byte(pool, IMAGE), 'i');
		thin->close(pool);
		CHECK_OK(thin->deinit(&site, true, &err), err);
		CHECK_OK(thin->deinit(&site, true, &err), err);
		(void)setenv("EMBER_FAIL_AT", steps[i], 1);
		CHECK_FAILS(thin->init(&site, &adopted, &err), err, ERR_FAILED);
		(void)unsetenv("EMBER_FAIL_AT");
		CHECK(!fs_exists(file));
		CHECK_OK(dm_list(prefix, &left, &err), err);
		CHECK_INT(left.count, 0);
	}
}

/* Everything is on again on demand. */
static void test_reboot(void)
{
	StoragePool *pool;
	auto_error err = NULL;
	auto_free char *reason = NULL;

	need_fake();
	pool = make_store();
	thin->close(pool);
	CHECK_INT(thin->check(&site, &reason, &err), 1);
	order("reboot", NULL, NULL);
	CHECK_INT(thin->check(&site, &reason, &err), 0);
	CHECK_CONTAINS(reason, "not active");
	pool = open_pool();
	CHECK_INT(first_byte(pool, VM), 'i');
	thin->close(pool);
	leave();
}

static void test_foreign(void)
{
	auto_error err = NULL;
	auto_free char *file = NULL;
	bool adopted;

	enter();
	file = path_join(site.state_dir, "store.img");
	CHECK_OK(fs_mkdir_all(site.state_dir, 0700, &err), err);
	CHECK_OK(fs_write_new(file, "somebody's", 10, 0600, &err), err);
	CHECK_FAILS(thin->init(&site, &adopted, &err), err, ERR_EXISTS);
	CHECK_OK(fs_remove(file, &err), err);
	(void)init();
	/* Whoever has another id must not take it. */
	CHECK_OK(thin->deinit(&site, false, &err), err);
	site.instance_id = "ef56";
	CHECK(thin->init(&site, &adopted, &err) < 0 && error_code(err) == ERR_EXISTS);
	CHECK_CONTAINS(error_text(err), instance_id);
	error_clear(&err);
	CHECK_FAILS(thin->deinit(&site, true, &err), err, ERR_EXISTS);
	site.instance_id = instance_id;
	CHECK(init());
	leave();
}

/* A copy of an installation has its id, and so the names of its devices. */
static void test_same_id(void)
{
	StoragePool *pool = make_store();
	auto_error err = NULL;
	auto_free char *reason = NULL;
	auto_free char *elsewhere = path_join(root, "copy.img");
	StorageSite copy = site;
	bool adopted;

	copy.path = elsewhere;
	CHECK_INT(thin->probe(&copy, &reason, &err), 1); /* nothing is there yet */
	CHECK(thin->init(&copy, &adopted, &err) < 0 && error_code(err) == ERR_BUSY);
	CHECK_CONTAINS(error_hint_text(err), "--instance-id");
	CHECK(!fs_exists(elsewhere));
	CHECK_INT(first_byte(pool, VM), 'i');
	thin->close(pool);
	leave();
}

/* On a device: taken when it is empty, emptied by a purge, never wiped. */
static void test_device(void)
{
	auto_error err = NULL;
	auto_free char *file = NULL;
	auto_fd fd = -1;
	auto_loop_device LoopDevice device = LOOP_DEVICE_NONE;
	auto_strv Strv names = { 0 };
	StoragePool *pool;
	bool adopted;

	enter();
	file = path_join(root, "disk.img");
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && ftruncate(fd, STORE_BYTES) == 0);
	CHECK_INT(pwrite(fd, "data", 4, 512 << 10), 4);
	CHECK_OK(loop_attach(file, &device, &err), err);
	site.path = device.path;
	CHECK_FAILS(thin->init(&site, &adopted, &err), err, ERR_EXISTS);
	CHECK_INT(pwrite(device.fd, "\0\0\0\0", 4, 512 << 10), 4);
	CHECK(!init());
	pool = open_pool();
	import_image(pool);
	thin->close(pool);
	CHECK_OK(thin->deinit(&site, false, &err), err);
	CHECK(init());
	pool = open_pool();
	CHECK_INT(first_byte(pool, IMAGE), 'i');
	CHECK_OK(thin->detach(pool, IMAGE, &err), err);
	thin->close(pool);
	CHECK(thin->grow(&site, 2 * STORE_BYTES, &err) < 0 && error_code(err) == ERR_USAGE);
	CHECK_CONTAINS(error_hint_text(err), "make the device larger");
	error_clear(&err);
	CHECK_OK(thin->deinit(&site, true, &err), err);
	CHECK(!init()); /* as good as new */
	pool = open_pool();
	CHECK_INT(volumes(pool, &names), 0);
	import_image(pool);
	thin->close(pool);
	leave();
}

/* In a view of the file system in which the program cannot be run, wherever it is. */
static void hide_tool_and_probe(void)
{
	static const char program[] = "/usr/sbin/thin_check";
	auto_free char *reason = NULL;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    (fs_exists(program) && mount("/dev/null", program, NULL, MS_BIND, NULL) < 0) ||
	    setenv("PATH", "/usr/bin", 1) < 0)
		_exit(2);
	if (thin->probe(&site, &reason, NULL) == 0 &&
	    strstr(reason, "'thin_check' is not installed") &&
	    strstr(reason, "apt-get install thin-provisioning-tools"))
		_exit(0);
	printf("# %s\n", reason);
	_exit(1);
}

static void test_missing_tool(void)
{
	int status = 0;
	pid_t pid;

	enter();
	(void)fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		hide_tool_and_probe();
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
}

static uint64_t capacity(StoragePool *pool)
{
	auto_error err = NULL;
	StorageCapacity capacity;

	CHECK_OK(thin->capacity(pool, &capacity, &err), err);
	return capacity.total_bytes;
}

static void grow_store(void)
{
	(void)thin->grow(&site, 2 * STORE_BYTES, NULL);
}

static void test_grow(void)
{
	StoragePool *pool = make_store();
	auto_error err = NULL;
	auto_fd fd = open_volume(pool, VM, O_RDWR);
	uint64_t before = capacity(pool);

	CHECK_FAILS(thin->grow(&site, 64 * MIB, &err), err, ERR_USAGE);
	CHECK_OK(thin->grow(&site, 2 * STORE_BYTES, &err), err);
	CHECK(!is_held());
	CHECK_INT(capacity(pool), before + STORE_BYTES);
	CHECK_OK(thin->grow(&site, 2 * STORE_BYTES, &err), err);
	CHECK_FAILS(thin->grow(&site, STORE_BYTES, &err), err, ERR_USAGE);
	/* More metadata, too: in pieces now. */
	CHECK_OK(thin->grow(&site, 24 * STORE_BYTES, &err), err);
	CHECK_INT(capacity(pool), 24 * STORE_BYTES - MIB - 24 * MIB);
	CHECK_INT(pwrite(fd, "v", 1, 0), 1);
	CHECK_INT(fsync(fd), 0);
	close_fd(&fd);
	thin->close(pool);
	CHECK_OK(thin->deinit(&site, false, &err), err);
	pool = open_pool();
	CHECK_INT(capacity(pool), 24 * STORE_BYTES - MIB - 24 * MIB);
	CHECK_INT(first_byte(pool, VM), 'v');
	thin->close(pool);
	leave();
}

static void test_grow_cut_off(void)
{
	static const char *const steps[] = { "storage.thin.grow.file", "storage.thin.grow.label",
					     "storage.thin.grow.load", "storage.thin.grow.swap" };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		StoragePool *pool = make_store();
		auto_error err = NULL;
		uint64_t before = capacity(pool);

		CHECK_INT(first_byte(pool, VM), 'i');
		kill_at(steps[i], grow_store);
		CHECK(!is_held());
		CHECK_INT(first_byte(pool, VM), 'i');
		CHECK_OK(thin->grow(&site, 2 * STORE_BYTES, &err), err);
		CHECK_INT(capacity(pool), before + STORE_BYTES);
		CHECK_INT(first_byte(pool, VM), 'i');
		(void)setenv("EMBER_FAIL_AT", steps[i], 1);
		if (thin->grow(&site, 3 * STORE_BYTES, &err) == 0)
			test_fail();
		(void)unsetenv("EMBER_FAIL_AT");
		CHECK(!is_held());
		CHECK_INT(first_byte(pool, VM), 'i');
		thin->close(pool);
		leave();
	}
}

int main(void)
{
	static const Test tests[] = {
		{ "init, cut off at each step", test_init_cut_off },
		{ "a reboot", test_reboot },
		{ "what is not ours is never touched", test_foreign },
		{ "two installations of one id", test_same_id },
		{ "a device", test_device },
		{ "a missing program", test_missing_tool },
		{ "grow, in use", test_grow },
		{ "grow, cut off at each step", test_grow_cut_off },
	};

	(void)atexit(leave);
	return test_main(tests, ARRAY_SIZE(tests));
}
