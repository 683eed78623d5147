/*
 * The contract of backend/storage.h as one table of cases: what every back end promises, tried on
 * real volumes.
 */
#include "storage_test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "util/fs.h"
#include "util/mem.h"

static uint64_t size_of(StoragePool *pool, const char *volume)
{
	auto_error err = NULL;
	uint64_t bytes = 0;

	CHECK_OK(host->storage->size(pool, volume, &bytes, &err), err);
	return bytes;
}

static void seal_volume(StoragePool *pool, const char *volume)
{
	auto_error err = NULL;

	CHECK_OK(host->storage->seal(pool, volume, &err), err);
}

/* Files say by their mode who may write to them; devices have no such thing. */
static void check_mode(StoragePool *pool, const char *volume, mode_t mode)
{
	auto_error err = NULL;
	auto_storage_disk StorageDisk disk = { 0 };
	struct stat st;

	CHECK_OK(host->storage->attach(pool, volume, &disk, &err), err);
	CHECK_INT(stat(disk.path, &st), 0);
	CHECK_INT(S_ISBLK(st.st_mode), disk.is_device);
	if (!disk.is_device)
		CHECK_INT(st.st_mode & 0777, mode);
	CHECK_OK(let_go(pool, volume, &err), err);
}

static void test_import(void)
{
	auto_error err = NULL;
	auto_free char *path = NULL;
	StoragePool *pool = open_pool();

	CHECK_OK(host->storage->import_path(pool, IMAGE, &path, &err), err);
	fill_file(path, 'i', MIB);
	/* An import under way is listed too: reconcile must find what nobody finished. */
	check_volumes(pool, 1);
	CHECK_FAILS(host->storage->clone(pool, IMAGE, VM, 0, NULL, &err), err, ERR_NOT_FOUND);
	CHECK_OK(host->storage->import_commit(pool, IMAGE, &err), err);
	CHECK(!fs_exists(path));
	check_volumes(pool, 1);
	check_mode(pool, IMAGE, 0444);
	CHECK_INT(size_of(pool, IMAGE), MIB);
	CHECK(volume_holds(pool, IMAGE, 0, 'i', MIB));
	free(steal(&path));
	CHECK_FAILS(host->storage->import_path(pool, IMAGE, &path, &err), err, ERR_EXISTS);
	remove_all(pool);
}

static void test_clone(void)
{
	auto_error err = NULL;
	StoragePool *pool = open_pool();

	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 64 * MIB);
	check_mode(pool, VM, 0600);
	CHECK_INT(size_of(pool, VM), 64 * MIB);
	CHECK(volume_holds(pool, VM, 0, 'i', IMAGE_BYTES));
	CHECK(volume_holds(pool, VM, 63 * MIB, 0, MIB));
	CHECK_INT(write_volume(pool, VM, 0, 'v', 4096), 0);
	CHECK_INT(write_volume(pool, VM, 63 * MIB, 'v', MIB), 0);
	CHECK(volume_holds(pool, VM, 0, 'v', 4096));
	CHECK(volume_holds(pool, VM, 4096, 'i', MIB));
	CHECK(volume_holds(pool, VM, 63 * MIB, 'v', MIB));
	CHECK(volume_holds(pool, IMAGE, 0, 'i', IMAGE_BYTES));
	CHECK_FAILS(host->storage->clone(pool, IMAGE, VM, 0, NULL, &err), err, ERR_EXISTS);
	CHECK(volume_holds(pool, VM, 0, 'v', 4096));
	/* A wish below the source's size keeps the source's. */
	destroy_volume(pool, VM);
	clone_volume(pool, IMAGE, VM, MIB);
	CHECK_INT(size_of(pool, VM), IMAGE_BYTES);
	remove_all(pool);
}

static void test_clone_refused(void)
{
	auto_error err = NULL;
	StoragePool *pool = open_pool();

	CHECK_FAILS(host->storage->clone(pool, IMAGE, VM, 0, NULL, &err), err, ERR_NOT_FOUND);
	import_volume(pool, IMAGE);
	CHECK_FAILS(host->storage->clone(pool, IMAGE, "../vm", 0, NULL, &err), err, ERR_FAILED);
	CHECK_FAILS(host->storage->destroy(pool, "../../etc", &err), err, ERR_FAILED);
	CHECK_FAILS(host->storage->clone(pool, IMAGE, VM, UINT64_MAX, NULL, &err), err, ERR_USAGE);
	check_volumes(pool, 1);
	remove_all(pool);
}

static void test_destroy_twice(void)
{
	auto_error err = NULL;
	auto_storage_disk StorageDisk disk = { 0 };
	StoragePool *pool = open_pool();

	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 0);
	destroy_volume(pool, IMAGE);
	check_volumes(pool, 1);
	CHECK(volume_holds(pool, VM, 0, 'i', IMAGE_BYTES)); /* it lives without its source */
	destroy_volume(pool, VM);
	CHECK_FAILS(host->storage->attach(pool, VM, &disk, &err), err, ERR_NOT_FOUND);
	destroy_volume(pool, VM);
	check_volumes(pool, 0);
	/* The name is free again, and what it names is new. */
	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 0);
	CHECK(volume_holds(pool, VM, 0, 'i', IMAGE_BYTES));
	remove_all(pool);
}

static void test_resize(void)
{
	auto_error err = NULL;
	StoragePool *pool = open_pool();

	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 0);
	CHECK_OK(host->storage->resize(pool, VM, 32 * MIB, false, &err), err);
	CHECK_OK(host->storage->resize(pool, VM, 32 * MIB, false, &err), err);
	CHECK_FAILS(host->storage->resize(pool, VM, MIB, false, &err), err, ERR_USAGE);
	CHECK_INT(size_of(pool, VM), 32 * MIB);
	CHECK(volume_holds(pool, VM, 0, 'i', IMAGE_BYTES));
	CHECK(volume_holds(pool, VM, IMAGE_BYTES, 0, 28 * MIB));
	CHECK_INT(write_volume(pool, VM, 31 * MIB, 'v', MIB), 0);
	CHECK_FAILS(host->storage->resize(pool, "nobody", MIB, false, &err), err, ERR_NOT_FOUND);
	remove_all(pool);
}

/* A hypervisor that has it open is told next. */
static void test_resize_live(void)
{
	auto_error err = NULL;
	auto_storage_disk StorageDisk disk = { 0 };
	StoragePool *pool = open_pool();

	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 0);
	CHECK_OK(host->storage->attach(pool, VM, &disk, &err), err);
	{
		auto_fd held = open(disk.path, O_RDWR | O_CLOEXEC);

		CHECK(held >= 0);
		CHECK_FAILS(host->storage->resize(pool, VM, MIB, true, &err), err, ERR_USAGE);
		CHECK_OK(host->storage->resize(pool, VM, 32 * MIB, true, &err), err);
		if (disk.format == DISK_RAW)
			CHECK_INT(lseek(held, 0, SEEK_END), 32 * MIB);
	}
	CHECK_OK(let_go(pool, VM, &err), err);
	CHECK_INT(size_of(pool, VM), 32 * MIB);
	remove_all(pool);
}

static void test_attach(void)
{
	auto_error err = NULL;
	auto_free char *expected = host->storage->path(&site, VM);
	auto_storage_disk StorageDisk first = { 0 };
	auto_storage_disk StorageDisk second = { 0 };
	StoragePool *pool = open_pool();

	CHECK_FAILS(host->storage->attach(pool, VM, &first, &err), err, ERR_NOT_FOUND);
	CHECK_OK(let_go(pool, VM, &err), err);
	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 0);
	CHECK_OK(host->storage->attach(pool, VM, &first, &err), err);
	CHECK_OK(host->storage->attach(pool, VM, &second, &err), err);
	CHECK_STR(first.path, second.path);
	CHECK_STR(first.path, expected);
	CHECK_INT(first.format, second.format);
	CHECK_INT(access(first.path, R_OK | W_OK), 0);
	CHECK_OK(let_go(pool, VM, &err), err);
	CHECK_OK(let_go(pool, VM, &err), err);
	CHECK_INT(write_volume(pool, VM, 0, 'v', 4096), 0);
	CHECK(volume_holds(pool, VM, 0, 'v', 4096));
	remove_all(pool);
}

/* A snapshot: a copy that is sealed, from which others are made and which its source outlives or
 * not. */
static void test_seal(void)
{
	auto_error err = NULL;
	StoragePool *pool = open_pool();

	CHECK_FAILS(host->storage->seal(pool, SNAPSHOT, &err), err, ERR_NOT_FOUND);
	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 8 * MIB);
	CHECK_INT(write_volume(pool, VM, 0, 'v', 4096), 0);
	clone_volume(pool, VM, SNAPSHOT, 0);
	seal_volume(pool, SNAPSHOT);
	seal_volume(pool, SNAPSHOT);
	check_mode(pool, SNAPSHOT, 0444);
	check_mode(pool, VM, 0600);
	CHECK_INT(write_volume(pool, VM, 0, 'w', 4096), 0);
	CHECK(volume_holds(pool, SNAPSHOT, 0, 'v', 4096));
	clone_volume(pool, SNAPSHOT, OTHER, 16 * MIB);
	check_mode(pool, OTHER, 0600);
	destroy_volume(pool, SNAPSHOT);
	check_volumes(pool, 3);
	CHECK_INT(size_of(pool, OTHER), 16 * MIB);
	CHECK(volume_holds(pool, OTHER, 0, 'v', 4096));
	CHECK_INT(write_volume(pool, OTHER, 0, 'o', 4096), 0);
	destroy_volume(pool, VM);
	destroy_volume(pool, IMAGE);
	CHECK(volume_holds(pool, OTHER, 0, 'o', 4096));
	CHECK(volume_holds(pool, OTHER, 4096, 'i', IMAGE_BYTES - 4096));
	remove_all(pool);
}

#define CHAIN 6

/* A clone of a clone of a clone: each knows what was written before it was made, and nothing else.
 */
static void test_chain(void)
{
	StoragePool *pool = open_pool();

	import_volume(pool, IMAGE);
	for (int i = 0; i < CHAIN; i++) {
		auto_free char *from = i == 0 ? xstrdup(IMAGE) : numbered_volume(i - 1);
		auto_free char *to = numbered_volume(i);

		clone_volume(pool, from, to, 0);
		CHECK_INT(write_volume(pool, to, (uint64_t)i * 65536, (char)('a' + i), 65536), 0);
		/* Written after it was copied: none of its copies sees that. */
		if (i > 0)
			CHECK_INT(write_volume(pool, from, 3 * MIB, (char)('A' + i), 65536), 0);
	}
	check_volumes(pool, CHAIN + 1);
	for (int i = 0; i < CHAIN; i++) {
		auto_free char *volume = numbered_volume(i);

		for (int j = 0; j < CHAIN; j++)
			CHECK(volume_holds(pool, volume, (uint64_t)j * 65536,
					   j <= i ? (char)('a' + j) : 'i', 65536));
	}
	/* The middle goes, the ends stay. */
	for (int i = 1; i < CHAIN - 1; i++) {
		auto_free char *volume = numbered_volume(i);

		destroy_volume(pool, volume);
	}
	check_volumes(pool, 3);
	auto_free char *last = numbered_volume(CHAIN - 1);
	for (int j = 0; j < CHAIN; j++)
		CHECK(volume_holds(pool, last, (uint64_t)j * 65536, (char)('a' + j), 65536));
	remove_all(pool);
}

/* An image, a VM, its snapshot and a fork of that, each with a mark of its own. */
static const char *const family[] = { IMAGE, VM, SNAPSHOT, OTHER };
static const char marks[] = "ivso";
#define FAMILY 4

static void make_family(StoragePool *pool)
{
	import_volume(pool, IMAGE);
	for (int i = 1; i < FAMILY; i++) {
		clone_volume(pool, family[i - 1], family[i], 0);
		CHECK_INT(write_volume(pool, family[i], (uint64_t)i * 65536, marks[i], 65536), 0);
	}
	seal_volume(pool, SNAPSHOT);
}

/* `order` is a number of FAMILY digits of that base, each a member; 0 when one comes twice. */
static int parse_order(int order, int out_members[FAMILY])
{
	int seen = 0;

	for (int i = 0; i < FAMILY; i++, order /= FAMILY) {
		out_members[i] = order % FAMILY;
		seen |= 1 << out_members[i];
	}
	return seen == (1 << FAMILY) - 1;
}

static void test_destroy_orders(void)
{
	StoragePool *pool = open_pool();
	int members[FAMILY];
	int seen = 0;

	for (int order = 0; order < FAMILY * FAMILY * FAMILY * FAMILY; order++) {
		if (!parse_order(order, members) || (host->is_slow && seen++ % 5 != 0))
			continue;
		make_family(pool);
		for (int gone = 0; gone < FAMILY; gone++) {
			destroy_volume(pool, family[members[gone]]);
			check_volumes(pool, (size_t)(FAMILY - gone - 1));
			for (int i = gone + 1; i < FAMILY; i++)
				CHECK(volume_holds(pool, family[members[i]],
						   (uint64_t)members[i] * 65536, marks[members[i]],
						   65536));
		}
	}
	remove_all(pool);
}

/* XFS copies 128 KiB for 4 KiB that are written, unless each file is told otherwise. */
static void check_copy_unit(StoragePool *pool, const char *volume)
{
	auto_error err = NULL;
	auto_storage_disk StorageDisk disk = { 0 };
	struct fsxattr attributes = { 0 };
	auto_fd fd = -1;

	CHECK_OK(host->storage->attach(pool, volume, &disk, &err), err);
	fd = open(disk.path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_INT(ioctl(fd, FS_IOC_FSGETXATTR, &attributes), 0);
	CHECK(attributes.fsx_xflags & FS_XFLAG_COWEXTSIZE);
	CHECK_INT(attributes.fsx_cowextsize, 4096);
	CHECK_OK(let_go(pool, volume, &err), err);
}

static bool are_files_on_xfs(void)
{
	auto_free char *path = host->storage->path(&site, VM);
	struct statfs fs;

	return str_starts_with(path, site.store_dir) && statfs(site.store_dir, &fs) == 0 &&
	       fs.f_type == XFS_SUPER_MAGIC;
}

static void test_copy_unit(void)
{
	StoragePool *pool;

	if (!are_files_on_xfs())
		test_skip("only XFS has such a thing");
	pool = open_pool();
	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 0);
	clone_volume(pool, VM, SNAPSHOT, 0);
	seal_volume(pool, SNAPSHOT);
	clone_volume(pool, SNAPSHOT, OTHER, 64 * MIB);
	check_copy_unit(pool, VM);
	check_copy_unit(pool, SNAPSHOT);
	check_copy_unit(pool, OTHER);
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

static const VolumeUsage *usage_of(const StorageUsage *usage, const char *volume)
{
	for (size_t i = 0; i < usage->count; i++)
		if (!strcmp(usage->items[i].volume, volume))
			return &usage->items[i];
	return NULL;
}

static void check_usage_order(const StorageUsage *usage)
{
	/* A back end that does not tell its metadata has little of it. */
	uint64_t metadata = usage->metadata_bytes == STORAGE_UNKNOWN ? 4 * MIB
								     : usage->metadata_bytes;

	for (size_t i = 0; i < usage->count; i++) {
		const VolumeUsage *item = &usage->items[i];

		if (item->referenced_bytes == STORAGE_UNKNOWN)
			continue;
		CHECK(item->referenced_bytes <= item->provisioned_bytes + metadata);
		if (item->exclusive_bytes != STORAGE_UNKNOWN)
			CHECK(item->exclusive_bytes <= item->referenced_bytes);
	}
}

/* Together they have what each has, but nothing twice: never more than there is. */
static void check_group(const StorageUsage *usage)
{
	const VolumeUsage *one = usage_of(usage, VM), *other = usage_of(usage, OTHER);
	const VolumeUsage *both = usage->groups;

	if (!both || both->referenced_bytes == STORAGE_UNKNOWN)
		return;
	CHECK(both->exclusive_bytes <= both->referenced_bytes);
	CHECK(both->exclusive_bytes >= one->exclusive_bytes + other->exclusive_bytes);
	CHECK(both->referenced_bytes >= other->referenced_bytes);
	CHECK(both->referenced_bytes < one->referenced_bytes + other->referenced_bytes);
	CHECK(both->referenced_bytes <= usage->allocated_bytes);
}

static void test_usage(void)
{
	auto_error err = NULL;
	auto_storage_usage StorageUsage usage = { 0 };
	auto_strv Strv group = { 0 };
	const VolumeUsage *vm, *image;
	StoragePool *pool;

	if (!host->storage->usage)
		test_skip("it cannot tell");
	pool = open_pool();
	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 64 * MIB);
	CHECK_INT(write_volume(pool, VM, 32 * MIB, 'v', MIB), 0);
	clone_volume(pool, VM, OTHER, 0);
	CHECK_INT(write_volume(pool, VM, 40 * MIB, 'w', 2 * MIB), 0);
	strv_push(&group, VM);
	strv_push(&group, OTHER);
	CHECK_OK(host->storage->usage(pool, &group, 1, &usage, &err), err);
	CHECK_INT(usage.count, 3);
	check_usage_order(&usage);
	check_group(&usage);
	vm = usage_of(&usage, VM);
	image = usage_of(&usage, IMAGE);
	CHECK(vm && image && usage_of(&usage, OTHER));
	CHECK_INT(vm->provisioned_bytes, 64 * MIB);
	CHECK_INT(image->provisioned_bytes, IMAGE_BYTES);
	if (vm->exclusive_bytes != STORAGE_UNKNOWN) {
		CHECK(host->is_compressed || vm->exclusive_bytes >= 2 * MIB);
		CHECK(vm->exclusive_bytes < IMAGE_BYTES); /* what it shares is not its own */
	}
	remove_all(pool);
}

/* The store comes back with everything in it, by itself when it has to be mounted. */
static void test_reopen(void)
{
	auto_error err = NULL;
	auto_free char *reason = NULL;
	StoragePool *pool = open_pool();
	bool adopted = false;

	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 8 * MIB);
	CHECK_INT(write_volume(pool, VM, 0, 'v', 4096), 0);
	host->storage->close(pool);
	CHECK_INT(host->storage->check(&site, &reason, &err), 1);
	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	CHECK_OK(host->storage->deinit(&site, false, &err), err);
	pool = open_pool();
	check_volumes(pool, 2);
	CHECK(volume_holds(pool, IMAGE, 0, 'i', IMAGE_BYTES));
	CHECK(volume_holds(pool, VM, 0, 'v', 4096));
	CHECK_OK(host->storage->init(&site, &adopted, &err), err);
	CHECK(adopted);
	remove_all(pool);
}

const Case contract_cases[] = {
	{ "an import becomes a sealed volume", test_import },
	{ "a clone shares and diverges", test_clone },
	{ "what cannot be cloned is refused", test_clone_refused },
	{ "destroy, twice", test_destroy_twice },
	{ "resize grows only", test_resize },
	{ "resize of an open disk", test_resize_live },
	{ "attach and detach, twice", test_attach },
	{ "a sealed copy and what is made of it", test_seal },
	{ "clones of clones", test_chain },
	{ "destroyed in every order", test_destroy_orders },
	{ "clones copy in small units", test_copy_unit },
	{ "capacity", test_capacity },
	{ "usage", test_usage },
	{ "a store comes back with its volumes", test_reopen },
};
const size_t contract_count = ARRAY_SIZE(contract_cases);
