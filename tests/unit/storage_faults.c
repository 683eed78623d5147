/*
 * What every back end promises when things go wrong: a full store, and a process that is killed or
 * fails at each step.
 */
#include "storage_test.h"

#include <unistd.h>

#include "util/mem.h"

/* A full store gives errors in words, nothing else is harmed, destroying still works, and then there
 * is room again. */
static void test_full(void)
{
	auto_error err = NULL;
	StoragePool *pool;

	if (host->is_shared)
		test_skip("would fill /tmp");
	if (host->is_compressed)
		test_skip("what this writes would not fill it");
	pool = open_pool();
	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, OTHER, 0);
	CHECK_INT(write_volume(pool, OTHER, 0, 'o', MIB), 0);
	clone_volume(pool, IMAGE, VM, 2 * STORE_BYTES);
	CHECK(write_volume(pool, VM, 0, 'x', 2 * STORE_BYTES) < 0);
	for (int i = 0; i < 100 && !err; i++) {
		auto_free char *name = numbered_volume(i);

		(void)host->storage->clone(pool, IMAGE, name, 0, NULL, &err);
	}
	if (err) /* clones take so little that some always fit */
		CHECK_CONTAINS(error_text(err), "space");
	error_clear(&err);
	destroy_volume(pool, VM);
	CHECK(volume_holds(pool, OTHER, 0, 'o', MIB));
	CHECK(volume_holds(pool, IMAGE, 0, 'i', IMAGE_BYTES));
	remove_all(pool);
	pool = open_pool();
	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 0);
	CHECK_INT(write_volume(pool, VM, 0, 'v', MIB), 0);
	remove_all(pool);
}

/* What a child does that is killed at one step. */
static void clone_vm(void)
{
	StoragePool *pool = open_pool();

	(void)host->storage->clone(pool, IMAGE, VM, 64 * MIB, NULL, NULL);
	host->storage->close(pool);
}

static void import_vm(void)
{
	auto_free char *path = NULL;
	StoragePool *pool = open_pool();

	if (host->storage->import_path(pool, VM, &path, NULL) == 0) {
		fill_file(path, 'p', MIB);
		(void)host->storage->import_commit(pool, VM, NULL);
	}
	host->storage->close(pool);
}

static void snapshot_image(void)
{
	StoragePool *pool = open_pool();

	if (host->storage->clone(pool, IMAGE, VM, 0, NULL, NULL) == 0)
		(void)host->storage->seal(pool, VM, NULL);
	host->storage->close(pool);
}

/* Nothing but a volume of that name may be left, which goes as if it were whole; its source is what
 * it was; and doing it again does it. */
static void check_killed(const char *const *steps, void (*act)(void))
{
	for (; *steps; steps++) {
		StoragePool *pool = open_pool();

		import_volume(pool, IMAGE);
		kill_at(*steps, act);
		destroy_volume(pool, VM);
		check_volumes(pool, 1);
		CHECK(volume_holds(pool, IMAGE, 0, 'i', IMAGE_BYTES));
		act();
		check_volumes(pool, 2);
		CHECK(volume_holds(pool, VM, 0, act == import_vm ? 'p' : 'i', MIB));
		remove_all(pool);
	}
}

static const char *const clone_steps[] = { "storage.clone", "storage.clone.grow",
					   "storage.clone.sync", NULL };
static const char *const import_steps[] = { "storage.seal", "storage.seal.sync",
					    "storage.seal.commit", NULL };
static const char *const seal_steps[] = { "storage.seal.volume", "storage.seal.volume.sync", NULL };

static void test_killed(void)
{
	check_killed(host->clone_steps ? host->clone_steps : clone_steps, clone_vm);
	check_killed(host->import_steps ? host->import_steps : import_steps, import_vm);
	check_killed(host->seal_steps ? host->seal_steps : seal_steps, snapshot_image);
}

static void test_failed(void)
{
	const char *const *step = host->clone_steps ? host->clone_steps : clone_steps;

	for (; *step; step++) {
		auto_error err = NULL;
		StoragePool *pool = open_pool();
		int result;

		import_volume(pool, IMAGE);
		(void)setenv("EMBER_FAIL_AT", *step, 1);
		result = host->storage->clone(pool, IMAGE, VM, 64 * MIB, NULL, &err);
		(void)unsetenv("EMBER_FAIL_AT");
		if (result == 0)
			test_skip("built without failure injection");
		CHECK(err);
		check_volumes(pool, 1);
		CHECK(volume_holds(pool, IMAGE, 0, 'i', IMAGE_BYTES));
		remove_all(pool);
	}
}

const Case fault_cases[] = {
	{ "a full store", test_full },
	{ "killed at each step", test_killed },
	{ "failed at each step", test_failed },
};
const size_t fault_count = ARRAY_SIZE(fault_cases);
