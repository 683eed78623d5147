/*
 * The size of a store that ember mounts itself: grown while it is used, relieved, and on a host that is
 * full.
 */
#include "storage_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/loop.h"
#include "util/deadline.h"
#include "util/fs.h"
#include "util/mem.h"

#define GROWN_BYTES (2 * STORE_BYTES)

static uint64_t capacity_of(StoragePool *pool)
{
	auto_error err = NULL;
	StorageCapacity capacity = { 0 };

	CHECK_OK(host->storage->capacity(pool, &capacity, &err), err);
	return capacity.total_bytes;
}

static uint64_t file_size(const char *path)
{
	struct stat st;

	CHECK_INT(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

/* One that has its first size again. */
static void make_anew(void)
{
	auto_error err = NULL;
	bool adopted = true;

	CHECK_OK(host->storage->deinit(&site, true, &err), err);
	CHECK_OK(host->storage->init(&site, &adopted, &err), err);
	CHECK(!adopted);
}

static void fill_family(StoragePool *pool)
{
	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 64 * MIB);
	CHECK_INT(write_volume(pool, VM, 32 * MIB, 'v', MIB), 0);
}

static void check_family(StoragePool *pool)
{
	check_volumes(pool, 2);
	CHECK(volume_holds(pool, IMAGE, 0, 'i', IMAGE_BYTES));
	CHECK(volume_holds(pool, VM, 0, 'i', IMAGE_BYTES));
	CHECK(volume_holds(pool, VM, 32 * MIB, 'v', MIB));
}

static void test_grow(void)
{
	auto_error err = NULL;
	auto_free char *file = store_file();
	StoragePool *pool = open_pool();

	fill_family(pool);
	CHECK_FAILS(host->storage->grow(&site, STORE_BYTES / 2, &err), err, ERR_USAGE);
	CHECK_OK(host->storage->grow(&site, GROWN_BYTES, &err), err);
	CHECK_INT(file_size(file), GROWN_BYTES);
	CHECK(capacity_of(pool) > GROWN_BYTES - 128 * MIB);
	check_family(pool);
	/* More than it could take before. */
	clone_volume(pool, IMAGE, OTHER, GROWN_BYTES);
	CHECK_INT(write_volume(pool, OTHER, 0, 'o', STORE_BYTES + 64 * MIB), 0);
	destroy_volume(pool, OTHER);
	CHECK_OK(host->storage->grow(&site, GROWN_BYTES, &err), err);
	CHECK_FAILS(host->storage->grow(&site, STORE_BYTES, &err), err, ERR_USAGE);
	CHECK_FAILS(host->storage->grow(&site, UINT64_MAX, &err), err, ERR_USAGE);
	CHECK((host->storage->grow(&site, INT64_MAX, &err)) < 0);
	CHECK_CONTAINS(error_text(err), "not enough space");
	error_clear(&err);
	CHECK_INT(file_size(file), GROWN_BYTES);
	host->storage->close(pool);
	/* Not mounted: it is, then. */
	CHECK_INT(umount2(site.store_dir, 0), 0);
	CHECK_OK(host->storage->grow(&site, GROWN_BYTES + STORE_BYTES, &err), err);
	pool = open_pool();
	CHECK(capacity_of(pool) > GROWN_BYTES + STORE_BYTES - 128 * MIB);
	check_family(pool);
	remove_all(pool);
	make_anew();
}

static void grow_store(void)
{
	(void)host->storage->grow(&site, GROWN_BYTES, NULL);
}

static const char *const grow_steps[] = { "storage.grow.file", "storage.grow.file.sync",
					  "storage.grow.device", "storage.grow.filesystem" };

/* Killed anywhere: whole as it stands, whole when mounted anew, and grown by the same call. */
static void test_grow_killed(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(grow_steps); i++) {
		auto_error err = NULL;
		StoragePool *pool = open_pool();

		fill_family(pool);
		kill_at(grow_steps[i], grow_store);
		check_family(pool);
		host->storage->close(pool);
		CHECK_INT(umount2(site.store_dir, 0), 0);
		pool = open_pool();
		check_family(pool);
		CHECK_OK(host->storage->grow(&site, GROWN_BYTES, &err), err);
		CHECK(capacity_of(pool) > GROWN_BYTES - 128 * MIB);
		check_family(pool);
		remove_all(pool);
		make_anew();
	}
}

/* What is in the store's file at that moment, as after a power cut, is a store. */
static void check_cut(const char *copy)
{
	auto_error err = NULL;
	StorageSite after = site;
	StoragePool *pool;

	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	after.path = copy;
	CHECK_OK(host->storage->open(&after, &pool, &err), err);
	check_family(pool);
	host->storage->close(pool);
	CHECK_OK(host->storage->grow(&after, GROWN_BYTES, &err), err);
	CHECK_OK(host->storage->open(&after, &pool, &err), err);
	CHECK(capacity_of(pool) > GROWN_BYTES - 128 * MIB);
	check_family(pool);
	host->storage->close(pool);
	CHECK_OK(host->storage->deinit(&after, true, &err), err);
}

static void test_grow_power_cut(void)
{
	auto_free char *copy = path_join(root, "cut.img");
	auto_free char *file = store_file();

	for (size_t i = 0; i <= ARRAY_SIZE(grow_steps); i++) {
		StoragePool *pool = open_pool();

		fill_family(pool);
		host->storage->close(pool);
		if (i < ARRAY_SIZE(grow_steps))
			kill_at(grow_steps[i], grow_store);
		else
			grow_store();
		CHECK_INT(run("cp", "--sparse=always", file, copy, NULL), 0);
		check_cut(copy);
		make_anew();
	}
}

/* The device grows first, by whoever made it; then the store takes all of it. */
static void test_grow_device(void)
{
	auto_error err = NULL;
	auto_free char *file = path_join(root, "device.img");
	auto_loop_device LoopDevice device = LOOP_DEVICE_NONE;
	auto_fd fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	StorageSite there = site;
	StoragePool *pool = NULL;
	bool adopted;

	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	CHECK_INT(ftruncate(fd, STORE_BYTES), 0);
	CHECK_OK(loop_attach(file, &device, &err), err);
	there.path = device.path;
	CHECK_OK(host->storage->init(&there, &adopted, &err), err);
	CHECK((host->storage->grow(&there, GROWN_BYTES, &err)) < 0);
	CHECK_CONTAINS(error_hint_text(err), "lvextend");
	error_clear(&err);
	CHECK_INT(ftruncate(fd, GROWN_BYTES), 0);
	CHECK_OK(loop_refresh_size(&device, &err), err);
	CHECK_FAILS(host->storage->grow(&there, STORE_BYTES, &err), err, ERR_USAGE);
	CHECK_OK(host->storage->grow(&there, GROWN_BYTES, &err), err);
	CHECK_OK(host->storage->open(&there, &pool, &err), err);
	CHECK(capacity_of(pool) > GROWN_BYTES - 128 * MIB);
	host->storage->close(pool);
	CHECK_OK(host->storage->deinit(&there, true, &err), err);
	CHECK_INT(unlink(file), 0);
	host->storage->close(open_pool());
}

static void test_trim(void)
{
	auto_error err = NULL;
	StorageTrim trim = { 0 };
	StoragePool *pool = open_pool();

	fill_family(pool);
	clone_volume(pool, IMAGE, OTHER, 256 * MIB);
	CHECK_INT(write_volume(pool, OTHER, 0, 'o', 128 * MIB), 0);
	destroy_volume(pool, OTHER);
	CHECK_OK(host->storage->trim(pool, &trim, &err), err);
	CHECK(trim.before_bytes > 128 * MIB);
	CHECK(trim.after_bytes + 120 * MIB < trim.before_bytes);
	check_family(pool);
	CHECK_OK(host->storage->trim(pool, &trim, &err), err);
	check_family(pool);
	remove_all(pool);
}

/*
 * A host that is full.
 */
#define SMALL_HOST_BYTES (704 * MIB)
#define BALLAST_BYTES	 (160 * MIB)
#define SLOT_BYTES	 MIB

/* Writes slot after slot, each synced before it counts, until one is not taken. How many count. */
static int write_slots(const char *path)
{
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);
	auto_free char *slot = xmalloc(SLOT_BYTES);

	CHECK(fd >= 0);
	for (int i = 0;; i++) {
		memset(slot, 'a' + i % 26, SLOT_BYTES);
		if (pwrite(fd, slot, SLOT_BYTES, (off_t)i * (off_t)SLOT_BYTES) !=
			    (ssize_t)SLOT_BYTES ||
		    fsync(fd) < 0)
			return i;
	}
}

static void make_small_host(const char *dir)
{
	auto_free char *image = path_join(root, "small.img");
	auto_fd fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK_INT(ftruncate(fd, SMALL_HOST_BYTES), 0);
	CHECK_INT(mkdir(dir, 0700), 0);
	CHECK_INT(run("mke2fs", "-q", "-t", "ext4", "-m", "0", image, NULL), 0);
	CHECK_INT(run("mount", "-oloop", image, dir, NULL), 0);
}

static void check_slots(StoragePool *pool, int count)
{
	for (int i = 0; i < count; i++)
		CHECK(volume_holds(pool, VM, (uint64_t)i * SLOT_BYTES, (char)('a' + i % 26),
				   SLOT_BYTES));
}

static void fill_host(const StorageSite *there, const char *dir)
{
	auto_error err = NULL;
	auto_free char *ballast = path_join(dir, "ballast");
	auto_free char *vm_path = host->storage->path(there, VM);
	StoragePool *pool = NULL;
	int count;

	fill_file(ballast, 'b', BALLAST_BYTES);
	CHECK_OK(host->storage->open(there, &pool, &err), err);
	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 2 * SMALL_HOST_BYTES);
	count = write_slots(vm_path);
	CHECK(count > 128 && count < 640);
	/* Nothing new is begun, in words, whatever has become of the filesystem. */
	CHECK((host->storage->clone(pool, IMAGE, OTHER, 0, NULL, &err)) < 0);
	error_clear(&err);
	host->storage->close(pool);
	CHECK_INT(unlink(ballast), 0);
	/* With room again it is as if nothing had been, but for what was never confirmed. */
	CHECK_OK(host->storage->open(there, &pool, &err), err);
	check_slots(pool, count);
	CHECK(volume_holds(pool, IMAGE, 0, 'i', IMAGE_BYTES));
	clone_volume(pool, IMAGE, OTHER, 0);
	CHECK_INT(write_volume(pool, OTHER, 0, 'o', MIB), 0);
	host->storage->close(pool);
	/* And so it is after a reboot. */
	CHECK_INT(umount2(there->store_dir, 0), 0);
	CHECK_OK(host->storage->open(there, &pool, &err), err);
	check_volumes(pool, 3);
	check_slots(pool, count);
	CHECK(volume_holds(pool, OTHER, 0, 'o', MIB));
	remove_all(pool);
}

static void test_full_host(void)
{
	auto_error err = NULL;
	auto_free char *dir = path_join(root, "small");
	auto_free char *file = path_join(dir, "store.img");
	auto_free char *image = path_join(root, "small.img");
	StorageSite there = site;
	bool adopted;

	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	make_small_host(dir);
	there.path = file;
	there.size_bytes = 2 * SMALL_HOST_BYTES;
	CHECK_OK(host->storage->init(&there, &adopted, &err), err);
	fill_host(&there, dir);
	CHECK_OK(host->storage->deinit(&there, true, &err), err);
	CHECK_INT(umount2(dir, 0), 0);
	CHECK_INT(unlink(image), 0);
	host->storage->close(open_pool());
}

const Case space_cases[] = {
	{ "grown while it is used", test_grow },
	{ "killed at each step of growing", test_grow_killed },
	{ "a power cut at each step of growing", test_grow_power_cut },
	{ "grown with its device", test_grow_device },
	{ "trimmed", test_trim },
	{ "on a full host", test_full_host },
};
const size_t space_count = ARRAY_SIZE(space_cases);
