/*
 * Stores that ember makes and mounts itself: what is attached, mounted and formatted, and what never
 * is.
 */
#include "storage_test.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/loop.h"
#include "util/deadline.h"
#include "util/fs.h"
#include "util/mem.h"

static char first_byte(const char *path)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	char byte = 0;

	CHECK(fd >= 0);
	CHECK_INT(read(fd, &byte, 1), 1);
	return byte;
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

/* After a reboot: the first command that needs the store mounts it again. */
static void test_mounted_on_demand(void)
{
	auto_error err = NULL;
	auto_free char *image_path = host->storage->path(&site, IMAGE);
	auto_free char *reason = NULL;
	StoragePool *pool = open_pool();

	import_volume(pool, IMAGE);
	host->storage->close(pool);
	CHECK_INT(umount2(site.store_dir, 0), 0);
	CHECK_INT(settled_loops(0), 0);
	CHECK(!fs_exists(image_path));
	CHECK_INT(host->storage->check(&site, &reason, &err), 0);
	CHECK_CONTAINS(reason, "not mounted");
	pool = open_pool();
	CHECK(volume_holds(pool, IMAGE, 0, 'i', IMAGE_BYTES));
	remove_all(pool);
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
	CHECK_INT(run("losetup", "--find", "--offset=4096", file, NULL), 0);
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

/* Two devices over one file are two caches of one filesystem: never ours, nor with us. */
static void test_attached_twice(void)
{
	auto_error err = NULL;
	auto_free char *file = store_file();
	StoragePool *pool = NULL;

	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	CHECK_INT(run("losetup", "--find", file, NULL), 0);
	CHECK_INT(run("losetup", "--find", file, NULL), 0);
	CHECK_INT(settled_loops(2), 2);
	CHECK((host->storage->open(&site, &pool, &err)) < 0);
	CHECK_INT(error_code(err), ERR_BUSY);
	CHECK_CONTAINS(error_text(err), "two devices");
	CHECK_CONTAINS(error_hint_text(err), "losetup -d '/dev/loop");
	/* What the hint says to type. */
	CHECK_INT(run("sh", "-c", strstr(error_hint_text(err), "losetup"), NULL), 0);
	error_clear(&err);
	CHECK_INT(settled_loops(1), 1);
	host->storage->close(open_pool());
	CHECK_INT(settled_loops(1), 1);
}

/* The same file by another path, for another state directory. */
static void try_second_path(const char *path, const char *instance_id, ErrorCode code)
{
	auto_error err = NULL;
	auto_free char *elsewhere = path_join(root, "elsewhere");
	auto_free char *store_dir = path_join(elsewhere, "store");
	StorageSite second = { .state_dir = elsewhere,
			       .store_dir = store_dir,
			       .path = path,
			       .instance_id = instance_id };
	StoragePool *pool = NULL;
	bool adopted = false;

	CHECK_FAILS(host->storage->init(&second, &adopted, &err), err, code);
	CHECK_FAILS(host->storage->open(&second, &pool, &err), err, code);
	CHECK_FAILS(host->storage->grow(&second, 2 * STORE_BYTES, &err), err, code);
	CHECK_INT(settled_loops(1), 1);
	CHECK_INT(umount2(store_dir, 0), -1); /* nothing was mounted there */
}

/* By whatever name it comes, a store in use is never used a second time. */
static void test_second_path(void)
{
	auto_error err = NULL;
	auto_free char *file = store_file();
	auto_free char *link_path = path_join(root, "symlink.img");
	auto_free char *hard_path = path_join(root, "hard.img");
	auto_free char *bind_dir = path_join(root, "bind");
	auto_free char *bind_path = path_join(bind_dir, "store.img");
	const char *const paths[] = { file, link_path, hard_path, bind_path };
	StoragePool *pool = open_pool();

	import_volume(pool, IMAGE);
	CHECK_INT(symlink(file, link_path), 0);
	CHECK_INT(link(file, hard_path), 0);
	CHECK_INT(mkdir(bind_dir, 0700), 0);
	CHECK_INT(mount(site.state_dir, bind_dir, NULL, MS_BIND, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		try_second_path(paths[i], "cd34", ERR_EXISTS); /* another installation */
		try_second_path(paths[i], "ab12", ERR_BUSY);   /* a copy of this one */
	}
	CHECK_INT(umount2(bind_dir, 0), 0);
	CHECK_OK(host->storage->destroy(pool, VM, &err), err);
	clone_volume(pool, IMAGE, VM, 0);
	CHECK(volume_holds(pool, VM, 0, 'i', IMAGE_BYTES));
	remove_all(pool);
	CHECK_INT(unlink(link_path), 0);
	CHECK_INT(unlink(hard_path), 0);
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
	CHECK_INT(umount2(site.store_dir, 0), 0);
	CHECK_INT(settled_loops(0), 0);
	host->storage->close(open_pool());
}

static void test_in_use(void)
{
	auto_error err = NULL;
	StoragePool *pool;

	pool = open_pool();
	import_volume(pool, IMAGE);
	{
		auto_free char *path = host->storage->path(&site, IMAGE);
		auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);

		CHECK(fd >= 0);
		CHECK_FAILS(host->storage->deinit(&site, true, &err), err, ERR_BUSY);
	}
	CHECK(fs_exists(site.store_dir));
	remove_all(pool);
}

/* A power cut: what the store's file holds at the moment when clone() has returned. */
static void test_power_cut(void)
{
	auto_error err = NULL;
	auto_free char *file = NULL;
	auto_free char *copy = path_join(root, "cut.img");
	StorageSite after = site;
	StoragePool *pool;
	uint64_t bytes = 0;

	file = store_file();
	pool = open_pool();
	import_volume(pool, IMAGE);
	CHECK_OK(host->storage->clone(pool, IMAGE, VM, 64 * MIB, NULL, &err), err);
	CHECK_INT(run("cp", "--sparse=always", file, copy, NULL), 0);
	remove_all(pool);
	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	after.path = copy;
	CHECK_OK(host->storage->open(&after, &pool, &err), err);
	CHECK_OK(host->storage->size(pool, VM, &bytes, &err), err);
	CHECK_INT(bytes, 64 * MIB);
	CHECK(volume_holds(pool, VM, 0, 'i', IMAGE_BYTES));
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
	fill_file(file, 'd', 4096);
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
	import_volume(pool, IMAGE);
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

const Case managed_cases[] = {
	{ "mounted when it is needed", test_mounted_on_demand },
	{ "a device attached by hand", test_attached_by_hand },
	{ "a file with two devices", test_attached_twice },
	{ "a store by another path", test_second_path },
	{ "eight open it at once", test_opened_at_once },
	{ "a store in use stays", test_in_use },
	{ "a clone survives a power cut", test_power_cut },
	{ "what is not ours is never formatted", test_foreign },
	{ "a device", test_device },
	{ "init killed at each step", test_init_killed },
};
const size_t managed_count = ARRAY_SIZE(managed_cases);
