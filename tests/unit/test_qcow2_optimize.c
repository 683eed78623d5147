/* The layers of a qcow2 store made fewer again, and how many there may be. */
#include "qcow2_place.h"

#include <sys/stat.h>

#include "storage/qcow2_read.h"
#include "util/mem.h"

static const StorageBackend *const storage = &qcow2_storage;

#define SNAPSHOTS 8

/* A VM that was copied again and again: as deep as it was copied. */
static void make_deep(bool sealed)
{
	set_up();
	for (int i = 0; i < SNAPSHOTS; i++) {
		auto_free char *name = nth(i);

		scribble(VM, i);
		clone_volume(VM, name);
		if (sealed)
			seal(name);
	}
	scribble(VM, SNAPSHOTS);
	CHECK_INT(depth_of(VM), SNAPSHOTS + 1);
}

static void optimize(const char *volume, bool want)
{
	auto_error err = NULL;
	bool done = !want;

	CHECK_OK(storage->optimize(pool, volume, NULL, NULL, &done, &err), err);
	CHECK_INT(done, want);
}

static void test_optimize(void)
{
	auto_free char *copy = NULL;
	auto_free char *middle_copy = NULL;
	auto_free char *middle = nth(SNAPSHOTS - 2);

	make_deep(true);
	copy = copy_out(VM, "before.raw");
	middle_copy = copy_out(middle, "middle.raw");
	optimize(VM, true);
	CHECK_INT(depth_of(VM), 3);
	check_files();
	check_same(VM, copy);
	check_same(middle, middle_copy);
	optimize(VM, false);
	for (int i = 0; i < SNAPSHOTS; i++) {
		auto_free char *name = nth(i);

		check_content(name);
	}
	/* Those who shared the layer share the new one. */
	CHECK_INT(depth_of(middle), 2);
	scribble(VM, 3);
	check_content(VM);
	check_same(middle, middle_copy);
	tear_down();
}

/* Without its snapshots it keeps no more than it needs. */
static void test_optimize_drops(void)
{
	auto_free char *copy = NULL;

	make_deep(false);
	for (int i = 0; i < SNAPSHOTS; i++) {
		auto_free char *name = nth(i);

		destroy(name);
	}
	copy = copy_out(VM, "before.raw");
	CHECK_INT(count_files(), 2 + 1 + SNAPSHOTS);
	optimize(VM, true);
	CHECK_INT(depth_of(VM), 3);
	CHECK_INT(count_files(), 2 + 1 + 2);
	check_same(VM, copy);
	check_files();
	tear_down();
}

/* A sealed volume is one file under two names, before and after. */
static void test_optimize_twin(void)
{
	auto_free char *volume_path = NULL;
	auto_free char *layer_path = NULL;
	struct stat volume, layer;

	make_deep(true);
	for (int i = 0; i < 2; i++) {
		auto_free char *first = nth(0);

		clone_volume(i ? FORK : first, i ? FORK2 : FORK);
		write_disk(i ? FORK2 : FORK, "write -P 1 0 64k");
	}
	for (int i = 0; i < 3; i++) {
		auto_free char *from = i ? nth(100 + i - 1) : xstrdup(FORK2);
		auto_free char *to = nth(100 + i);

		clone_volume(from, to);
		write_disk(to, "write -P 2 %dk 64k", 64 * i);
		seal(to);
	}
	{
		auto_free char *last = nth(102);
		auto_free char *deep = nth(103);
		auto_free char *twin = nth(101);

		clone_volume(last, deep);
		CHECK(depth_of(deep) > 4);
		optimize(deep, true);
		volume_path = path_of(twin, ".qcow2");
		layer_path = path_of(twin, ".layer.qcow2");
		CHECK_INT(stat(volume_path, &volume), 0);
		CHECK_INT(stat(layer_path, &layer), 0);
		CHECK_INT(volume.st_ino, layer.st_ino);
		CHECK_INT(volume.st_mode & 0777, 0444);
		CHECK_INT(depth_of(deep), 3);
	}
	check_files();
	tear_down();
}

static void optimize_vm(void)
{
	bool done;

	(void)storage->optimize(pool, VM, NULL, NULL, &done, NULL);
}

static void test_optimize_killed(void)
{
	static const char *const steps[] = { "storage.qcow2.optimize",
					     "storage.qcow2.optimize.sync",
					     "storage.qcow2.optimize.commit",
					     "storage.qcow2.optimize.drop" };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		auto_error err = NULL;
		auto_storage_disk StorageDisk disk = { 0 };
		auto_free char *copy = NULL;

		make_deep(i % 2 == 0);
		copy = copy_out(VM, "before.raw");
		kill_at(steps[i], optimize_vm);
		check_same(VM, copy);
		/* A start ends whatever is under way. */
		CHECK_OK(storage->attach(pool, VM, &disk, &err), err);
		CHECK(!has_file(VM, ".flat"));
		check_files();
		optimize_vm();
		CHECK(depth_of(VM) <= 4);
		check_same(VM, copy);
		tear_down();
	}
}

static void test_too_deep(void)
{
	auto_error err = NULL;
	int made = 0;

	set_up();
	for (; made < 2 * QCOW2_CHAIN_MAX; made++) {
		auto_free char *name = nth(made);

		write_disk(VM, "write -P 1 %dM 4k", made);
		if (storage->clone(pool, VM, name, 0, NULL, &err) < 0)
			break;
		seal(name);
	}
	CHECK(made < QCOW2_CHAIN_MAX && made > 8);
	CHECK_STR(error_code_word(error_code(err)), "unsupported");
	CHECK_CONTAINS(error_hint_text(err), "ember storage optimize");
	error_clear(&err);
	check_content(VM);
	optimize(VM, true);
	clone_volume(VM, FORK);
	check_content(FORK);
	tear_down();
}

int main(void)
{
	static const Test tests[] = {
		{ "fewer layers", test_optimize },
		{ "fewer layers, and none that nobody needs", test_optimize_drops },
		{ "a sealed volume among the layers", test_optimize_twin },
		{ "fewer layers, killed at each step", test_optimize_killed },
		{ "too many layers", test_too_deep },
	};

	(void)atexit(forget);
	return test_main(tests, ARRAY_SIZE(tests));
}
