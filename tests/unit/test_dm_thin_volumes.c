/*
 * What dm-thin promises of volumes, beyond the contract of test_storage: a disk in use, what was cut off, what the pool
 * has and nobody wrote down, a pool that misbehaves.
 */
#include "thin_place.h"

#include <fcntl.h>
#include <unistd.h>

#include "storage/dm.h"
#include "storage/dm_thin.h"
#include "util/fs.h"
#include "util/mem.h"

#define STRAY "7468696e-0000-4000-8000-"

const char instance_id[] = "ce35";
static const StorageBackend *const thin = &dm_thin_storage;

static void copy_vm(void)
{
	StoragePool *pool = open_pool();

	(void)thin->clone(pool, VM, OTHER, 0, NULL, NULL);
}

/* Killed while the disk of a running VM is held: it goes on by itself. */
static void test_held(void)
{
	StoragePool *pool = make_store();
	auto_error err = NULL;
	auto_fd fd = open_volume(pool, VM, O_RDWR);

	CHECK(fd >= 0);
	kill_at("storage.thin.snap.held", copy_vm);
	CHECK(!is_held());
	CHECK_INT(pwrite(fd, "v", 1, 0), 1);
	CHECK_INT(fsync(fd), 0);
	CHECK_OK(thin->destroy(pool, OTHER, &err), err);
	(void)setenv("EMBER_FAIL_AT", "storage.thin.snap.held", 1);
	CHECK_FAILS(thin->clone(pool, VM, OTHER, 0, NULL, &err), err, ERR_FAILED);
	(void)unsetenv("EMBER_FAIL_AT");
	CHECK(!is_held());
	CHECK_OK(thin->clone(pool, VM, OTHER, 0, NULL, &err), err);
	CHECK(!is_held());
	CHECK_INT(first_byte(pool, OTHER), 'v');
	close_fd(&fd);
	thin->close(pool);
	leave();
}

static void destroy_vm(void)
{
	StoragePool *pool = open_pool();

	(void)thin->destroy(pool, VM, NULL);
}

static void resize_vm(void)
{
	StoragePool *pool = open_pool();

	(void)thin->resize(pool, VM, 32 * MIB, false, NULL);
}

static void test_cut_off(void)
{
	static const char *const steps[] = { "storage.thin.destroy", "storage.thin.delete",
					     "storage.thin.forget" };
	StoragePool *pool = make_store();
	auto_error err = NULL;

	kill_at("storage.thin.resize", resize_vm);
	CHECK_INT(first_byte(pool, VM), 'i');
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		auto_strv Strv names = { 0 };

		kill_at(steps[i], destroy_vm);
		CHECK_INT(volumes(pool, &names), 2);
		CHECK_OK(thin->destroy(pool, VM, &err), err);
		CHECK_OK(thin->clone(pool, IMAGE, VM, 8 * MIB, NULL, &err), err);
		CHECK_INT(first_byte(pool, VM), 'i');
	}
	thin->close(pool);
	leave();
}

/* Who has a disk open keeps it. */
static void test_in_use(void)
{
	StoragePool *pool = make_store();
	auto_error err = NULL;
	auto_fd fd = open_volume(pool, VM, O_RDWR);

	CHECK(thin->destroy(pool, VM, &err) < 0 && error_code(err) == ERR_BUSY);
	CHECK_CONTAINS(error_hint_text(err), "fuser");
	error_clear(&err);
	CHECK_FAILS(thin->deinit(&site, true, &err), err, ERR_BUSY);
	CHECK_INT(pwrite(fd, "v", 1, 0), 1);
	close_fd(&fd);
	CHECK_INT(first_byte(pool, VM), 'v');
	thin->close(pool);
	leave();
}

static void test_sealed(void)
{
	StoragePool *pool = make_store();
	auto_error err = NULL;
	auto_fd fd = open_volume(pool, IMAGE, O_RDWR);

	CHECK(fd < 0 || pwrite(fd, "x", 1, 0) < 0 || fsync(fd) < 0);
	/* A copy of one that is attached, and does not change, waits for nothing. */
	(void)setenv("EMBER_KILL_AT", "storage.thin.snap.held", 1);
	CHECK_OK(thin->clone(pool, IMAGE, OTHER, 0, NULL, &err), err);
	(void)unsetenv("EMBER_KILL_AT");
	close_fd(&fd);
	CHECK_OK(thin->seal(pool, VM, &err), err);
	fd = open_volume(pool, VM, O_RDWR);
	CHECK(fd < 0 || pwrite(fd, "x", 1, 0) < 0 || fsync(fd) < 0);
	close_fd(&fd);
	thin->close(pool);
	leave();
}

/* What the pool has and nobody wrote down is listed, and goes like a volume; but never what somebody wrote down. */
static void test_strays(void)
{
	StoragePool *pool;
	auto_free char *device = pool_device();
	auto_error err = NULL;
	auto_strv Strv before = { 0 };
	auto_strv Strv after = { 0 };

	need_fake();
	pool = make_store();
	order("stray", device, "1193046");
	CHECK_INT(volumes(pool, &before), 3);
	CHECK(strv_has(&before, STRAY "000000123456"));
	CHECK_OK(thin->destroy(pool, STRAY "000000123456", &err), err);
	CHECK_INT(volumes(pool, &after), 2);
	for (size_t i = 0; i < after.count; i++) {
		auto_thin_record ThinRecord record = { 0 };
		auto_free char *name = NULL;

		CHECK_INT(thin_record_locate(site.store_dir, after.items[i], &record, &err), 1);
		name = xasprintf(STRAY "%012x", record.id);
		CHECK_OK(thin->destroy(pool, name, &err), err);
		CHECK_INT(first_byte(pool, after.items[i]), 'i');
	}
	thin->close(pool);
	leave();
}

/* Numbers are random: one that is taken is no reason to fail. */
static void test_taken_number(void)
{
	StoragePool *pool;
	auto_error err = NULL;
	auto_thin_record ThinRecord first = { 0 };
	auto_strv Strv names = { 0 };

	need_fake();
	pool = make_store();
	order("fail", "create_snap", "EEXIST");
	CHECK_OK(thin->clone(pool, VM, OTHER, 0, NULL, &err), err);
	CHECK_INT(thin_record_locate(site.store_dir, OTHER, &first, &err), 1);
	CHECK_INT(first_byte(pool, OTHER), 'i');
	CHECK_INT(volumes(pool, &names), 3);
	CHECK_OK(thin->destroy(pool, OTHER, &err), err);
	order("fail", "create_snap", "ENOSPC");
	CHECK(thin->clone(pool, VM, OTHER, 0, NULL, &err) < 0);
	CHECK_CONTAINS(error_hint_text(err), "ember storage grow");
	error_clear(&err);
	CHECK_FAILS(thin->attach(pool, OTHER, &(StorageDisk){ 0 }, &err), err, ERR_NOT_FOUND);
	thin->close(pool);
	leave();
}

static void count_volumes(void)
{
	auto_strv Strv names = { 0 };
	StoragePool *pool = open_pool();

	(void)thin->list(pool, &names, NULL);
}

/* The one snapshot of the metadata is given back, whatever happens. */
static void test_metadata_snapshot(void)
{
	StoragePool *pool = make_store();
	auto_free char *device = pool_device();
	auto_error err = NULL;
	auto_free char *status = NULL;
	auto_strv Strv names = { 0 };
	StorageUsage usage = { 0 };
	ThinStatus parsed;

	(void)setenv("EMBER_FAIL_AT", "storage.thin.list", 1);
	CHECK_FAILS(thin->usage(pool, NULL, 0, &usage, &err), err, ERR_FAILED);
	(void)unsetenv("EMBER_FAIL_AT");
	CHECK_OK(dm_status(device, &status, &err), err);
	CHECK(thin_status_parse(status, &parsed) && !parsed.has_snapshot);
	kill_at("storage.thin.list", count_volumes);
	CHECK_INT(volumes(pool, &names), 2);
	free(steal(&status));
	CHECK_OK(dm_status(device, &status, &err), err);
	CHECK(thin_status_parse(status, &parsed) && !parsed.has_snapshot);
	thin->close(pool);
	leave();
}

/* A pool that turned read-only says so, and is mended as soon as nobody has a disk open. */
static void test_readonly_pool(void)
{
	StoragePool *pool;
	auto_free char *device = pool_device();
	auto_error err = NULL;
	auto_fd fd = -1;

	need_fake();
	pool = make_store();
	fd = open_volume(pool, VM, O_RDWR);
	order("mode", device, "ro");
	CHECK(thin->clone(pool, IMAGE, OTHER, 0, NULL, &err) < 0 && error_code(err) == ERR_STATE);
	CHECK_CONTAINS(error_hint_text(err), "stop all VMs");
	error_clear(&err);
	thin->close(pool);
	pool = open_pool();
	CHECK_FAILS(thin->clone(pool, IMAGE, OTHER, 0, NULL, &err), err, ERR_STATE);
	thin->close(pool);
	close_fd(&fd);
	pool = open_pool();
	CHECK_OK(thin->clone(pool, IMAGE, OTHER, 0, NULL, &err), err);
	CHECK_INT(first_byte(pool, VM), 'i');
	thin->close(pool);
	leave();
}

int main(void)
{
	static const Test tests[] = {
		{ "killed while a disk is held", test_held },
		{ "destroy and resize, cut off at each step", test_cut_off },
		{ "a disk in use stays", test_in_use },
		{ "what is sealed cannot be written to", test_sealed },
		{ "what the pool has and nobody wrote down", test_strays },
		{ "numbers that are taken", test_taken_number },
		{ "the snapshot of the metadata", test_metadata_snapshot },
		{ "a pool that turned read-only", test_readonly_pool },
	};

	(void)atexit(leave);
	return test_main(tests, ARRAY_SIZE(tests));
}
