/*
 * What is special about a qcow2 store: the files themselves, which QEMU's own tools have to find good and to read as we do.
 * The contract of all stores is tested by test_storage; fewer layers by test_qcow2_optimize.
 */
#include "qcow2_place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/qcow2_read.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

static const StorageBackend *const storage = &qcow2_storage;

static void test_header(void)
{
	auto_error err = NULL;
	uint8_t data[QCOW2_HEADER_BYTES];
	Qcow2Header header = { .size_bytes = 5 * GIB,
			       .l1_entries = QCOW2_L1_ENTRIES,
			       .l1_offset = 2 * QCOW2_CLUSTER,
			       .refcount_offset = QCOW2_CLUSTER,
			       .backing = IMAGE ".layer.raw",
			       .backing_is_raw = true };
	Qcow2Header found;

	qcow2_print(&header, data);
	CHECK_OK(qcow2_parse(data, sizeof(data), &found, &err), err);
	CHECK_INT(found.size_bytes, 5 * GIB);
	CHECK_INT(found.l1_entries, QCOW2_L1_ENTRIES);
	CHECK_STR(found.backing, IMAGE ".layer.raw");
	CHECK(found.backing_is_raw);
	for (size_t len = 0; len < 150; len++)
		CHECK_FAILS(qcow2_parse(data, len, &found, &err), err, ERR_FAILED);
	data[79] |= 2; /* corrupt */
	CHECK_FAILS(qcow2_parse(data, sizeof(data), &found, &err), err, ERR_FAILED);
	data[79] = 0x14; /* external data file */
	CHECK_FAILS(qcow2_parse(data, sizeof(data), &found, &err), err, ERR_UNSUPPORTED);
	/* A header may not lead out of the store. */
	(void)snprintf(header.backing, sizeof(header.backing), "../../etc/shadow.raw");
	qcow2_print(&header, data);
	CHECK_FAILS(qcow2_parse(data, sizeof(data), &found, &err), err, ERR_FAILED);
	/* Nor may its format be another one than its name says. */
	(void)snprintf(header.backing, sizeof(header.backing), "a.layer.qcow2");
	qcow2_print(&header, data);
	CHECK_FAILS(qcow2_parse(data, sizeof(data), &found, &err), err, ERR_FAILED);
}

static char *info(const char *volume)
{
	auto_command Command cmd = { 0 };
	auto_error err = NULL;
	auto_free char *path = path_of(volume, ".qcow2");

	command_init(&cmd, "qemu-img", "info", "--output=json", path, NULL);
	cmd.capture = true;
	CHECK_OK(command_run(&cmd, deadline_in_ms(60000), &err), err);
	return strbuf_take(&cmd.output);
}

static void test_fresh(void)
{
	auto_free char *text = NULL;
	auto_free char *path = NULL;
	struct stat st;

	set_up();
	text = info(VM);
	CHECK_CONTAINS(text, "\"extended-l2\": true");
	CHECK_CONTAINS(text, "\"cluster-size\": 131072");
	CHECK_CONTAINS(text, "\"virtual-size\": 3221225472");
	CHECK_CONTAINS(text, "\"lazy-refcounts\": false");
	CHECK_CONTAINS(text, "\"backing-filename\": \"" IMAGE ".layer.raw\"");
	CHECK_CONTAINS(text, "\"backing-filename-format\": \"raw\"");
	path = path_of(VM, ".qcow2");
	CHECK_INT(stat(path, &st), 0);
	CHECK(st.st_blocks * 512 <= 16384);
	check_files();
	check_content(VM);
	/* The first write of a few bytes costs a few pages and a table. */
	write_disk(VM, "write -P 7 1G 512");
	CHECK_INT(stat(path, &st), 0);
	CHECK(st.st_blocks * 512 <= (off_t)MIB / 2);
	check_files();
	check_content(VM);
	tear_down();
}

static void test_content(void)
{
	auto_error err = NULL;
	auto_free char *copy = NULL;
	char ours[1000], theirs[1000];
	auto_fd fd = -1;

	set_up();
	scribble(VM, 0);
	clone_volume(VM, FORK);
	scribble(VM, 1);
	scribble(FORK, 2);
	clone_volume(FORK, FORK2);
	CHECK_INT(depth_of(FORK2), 3);
	check_files();
	check_content(VM);
	check_content(FORK);
	copy = copy_out(FORK2, "fork.raw");
	check_same(FORK2, copy);
	/* Anywhere, across the borders of clusters. */
	fd = open(copy, O_RDONLY | O_CLOEXEC);
	for (uint64_t at = 0; at < 4 * MIB; at += 131072 - 500) {
		CHECK_OK(storage->read(pool, FORK2, at, ours, sizeof(ours), &err), err);
		CHECK_INT(pread(fd, theirs, sizeof(theirs), (off_t)at), sizeof(theirs));
		CHECK(memcmp(ours, theirs, sizeof(ours)) == 0);
	}
	CHECK_OK(storage->read(pool, FORK2, DISK_BYTES - 10, ours, sizeof(ours), &err), err);
	CHECK_INT(ours[9], 'c');
	CHECK_INT(ours[10], 0);
	tear_down();
}

static void test_copy_in(void)
{
	auto_error err = NULL;
	auto_free char *copy = NULL;
	auto_free char *path = NULL;
	auto_fd fd = -1;
	struct stat st;

	set_up();
	scribble(VM, 0);
	clone_volume(VM, FORK);
	copy = copy_out(FORK, "changed.raw");
	fd = open(copy, O_RDWR | O_CLOEXEC);
	CHECK_INT(pwrite(fd, "changed", 7, 100), 7);
	CHECK_INT(pwrite(fd, "changed", 7, 2 * GIB + 5), 7);
	CHECK_INT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MIB, MIB), 0);
	CHECK_OK(storage->copy_in(pool, FORK, fd, &err), err);
	check_same(FORK, copy);
	check_content(FORK);
	check_files();
	path = path_of(FORK, ".qcow2");
	CHECK_INT(stat(path, &st), 0);
	CHECK(st.st_blocks * 512 < (off_t)MIB);
	write_disk(FORK, "write -P 9 5M 5M"); /* QEMU goes on with it */
	check_files();
	check_content(FORK);
	seal(FORK);
	CHECK_FAILS(storage->copy_in(pool, FORK, fd, &err), err, ERR_FAILED);
	tear_down();
}

static void clone_fork(void)
{
	(void)storage->clone(pool, VM, FORK, 0, NULL, NULL);
}

/* A source that may be written to is whole at each instant, and what a clone left goes with it. */
static void test_clone_killed(void)
{
	static const char *const steps[] = { "storage.clone", "storage.clone.sync",
					     "storage.qcow2.switch", "storage.qcow2.switched" };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		auto_error err = NULL;
		auto_free char *copy = NULL;

		set_up();
		scribble(VM, 0);
		copy = copy_out(VM, "before.raw");
		kill_at(steps[i], clone_fork);
		check_same(VM, copy);
		check_files();
		destroy(FORK);
		CHECK(!has_file(FORK, ".qcow2") && !has_file(FORK, ".next"));
		check_same(VM, copy);
		CHECK_OK(storage->clone(pool, VM, FORK2, 0, NULL, &err), err);
		write_disk(VM, "write -P 1 0 1M");
		check_same(FORK2, copy);
		tear_down();
		/* The same, when it only fails. */
		set_up();
		scribble(VM, 0);
		(void)setenv("EMBER_FAIL_AT", steps[i], 1);
		CHECK_FAILS(storage->clone(pool, VM, FORK, 0, NULL, &err), err, ERR_FAILED);
		(void)unsetenv("EMBER_FAIL_AT");
		CHECK(!has_file(FORK, ".qcow2") && !has_file(FORK, ".next"));
		check_content(VM);
		destroy(FORK);
		tear_down();
	}
}

static void test_reuse(void)
{
	set_up();
	/* Nothing was written to the VM: its forks stand on the image, beside it. */
	clone_volume(VM, FORK);
	CHECK_INT(depth_of(FORK), 1);
	scribble(VM, 0);
	for (int i = 0; i < 20; i++) {
		auto_free char *name = nth(i);

		clone_volume(VM, name);
		CHECK_INT(depth_of(name), 2);
	}
	CHECK_INT(depth_of(VM), 2);
	check_files();
	tear_down();
}

/* What a hypervisor would do: it has the file open, whatever that is called now. */
typedef struct Hypervisor {
	const char *layer; /* where the file is now */
	bool fails;
	bool asked;
} Hypervisor;

static int switch_to(void *arg, const StorageDisk *overlay, Error **err)
{
	Hypervisor *hypervisor = arg;

	hypervisor->asked = true;
	CHECK_INT(overlay->format, DISK_QCOW2);
	(void)chmod(hypervisor->layer, 0600);
	io(hypervisor->layer, "write -P 33 0 1M"); /* the guest went on until now */
	(void)chmod(hypervisor->layer, 0444);
	if (hypervisor->fails)
		return error_set(err, ERR_FAILED, "it does not answer");
	io(overlay->path, "write -P 34 1M 1M");
	return 0;
}

static void test_live(void)
{
	auto_error err = NULL;
	auto_free char *layer = NULL;
	Hypervisor hypervisor = { 0 };
	const StorageLive live = { .arg = &hypervisor, .switch_to = switch_to };
	char byte;

	for (int fails = 0; fails < 2; fails++) {
		set_up();
		free(steal(&layer));
		layer = path_of(FORK, ".origin.qcow2");
		hypervisor = (Hypervisor){ .layer = layer, .fails = fails };
		scribble(VM, 0);
		CHECK_INT(storage->clone(pool, VM, FORK, 0, &live, fails ? NULL : &err),
			  fails ? -1 : 0);
		CHECK(hypervisor.asked);
		/* Either way the VM has all that its guest wrote. */
		CHECK_OK(storage->read(pool, VM, 10, &byte, 1, &err), err);
		CHECK_INT(byte, 33);
		CHECK_OK(storage->read(pool, VM, MIB + 10, &byte, 1, &err), err);
		CHECK_INT(byte, fails ? 'a' : 34);
		check_content(VM);
		check_files();
		if (!fails) {
			CHECK_OK(storage->read(pool, FORK, 10, &byte, 1, &err), err);
			CHECK_INT(byte, 33);
			CHECK_OK(storage->read(pool, FORK, MIB + 10, &byte, 1, &err), err);
			CHECK_INT(byte, 'a');
		}
		CHECK_INT(has_file(FORK, ".qcow2"), !fails);
		tear_down();
	}
}

static void test_resize(void)
{
	auto_error err = NULL;
	char bytes[2];

	set_up();
	scribble(VM, 0);
	CHECK_OK(storage->resize(pool, VM, 100 * GIB, false, &err), err);
	write_disk(VM, "write -P 5 99G 1M");
	check_files();
	CHECK_OK(storage->read(pool, VM, DISK_BYTES - 1, bytes, 2, &err), err);
	CHECK_INT(bytes[0], 'a');
	CHECK_INT(bytes[1], 0);
	/* A larger clone does not see what its smaller origin never had. */
	CHECK_OK(storage->clone(pool, VM, FORK, 200 * GIB, NULL, &err), err);
	check_files();
	CHECK_FAILS(storage->resize(pool, VM, QCOW2_SIZE_MAX + 512, false, &err), err, ERR_USAGE);
	CHECK_OK(storage->resize(pool, VM, QCOW2_SIZE_MAX, false, &err), err);
	write_disk(VM, "write -P 5 15T 1M");
	check_files();
	tear_down();
}

static const VolumeUsage *usage_of(const StorageUsage *usage, const char *volume)
{
	for (size_t i = 0; i < usage->count; i++)
		if (!strcmp(usage->items[i].volume, volume))
			return &usage->items[i];
	return NULL;
}

static void test_usage(void)
{
	auto_error err = NULL;
	auto_storage_usage StorageUsage usage = { 0 };
	const VolumeUsage *image, *vm, *fork;
	auto_strv Strv group = { 0 };

	set_up();
	write_disk(VM, "write -P 1 100M 10M");
	clone_volume(VM, FORK);
	write_disk(FORK, "write -P 2 200M 3M");
	strv_push(&group, VM);
	strv_push(&group, FORK);
	CHECK_OK(storage->usage(pool, &group, 1, &usage, &err), err);
	CHECK_INT(usage.count, 3);
	image = usage_of(&usage, IMAGE);
	vm = usage_of(&usage, VM);
	fork = usage_of(&usage, FORK);
	CHECK_INT(image->exclusive_bytes, 0);
	CHECK_INT(image->referenced_bytes, IMAGE_BYTES);
	CHECK(vm->exclusive_bytes < MIB);
	CHECK(vm->referenced_bytes >= 14 * MIB && vm->referenced_bytes < 15 * MIB);
	CHECK(fork->exclusive_bytes >= 3 * MIB && fork->exclusive_bytes < 4 * MIB);
	CHECK(fork->referenced_bytes >= 17 * MIB && fork->referenced_bytes < 18 * MIB);
	CHECK(usage.allocated_bytes >= 17 * MIB && usage.allocated_bytes < 18 * MIB);
	CHECK_INT(usage.addressable_bytes, 2 * DISK_BYTES + IMAGE_BYTES);
	/* The layer that both reach, once; the image is not theirs alone. */
	CHECK_INT(usage.groups[0].referenced_bytes, usage.allocated_bytes);
	CHECK_INT(usage.groups[0].exclusive_bytes, usage.allocated_bytes - IMAGE_BYTES);
	storage_usage_release(&usage);
	/* What two shared is the other's alone when one is gone. */
	destroy(VM);
	CHECK_OK(storage->usage(pool, NULL, 0, &usage, &err), err);
	CHECK(usage_of(&usage, FORK)->exclusive_bytes >= 13 * MIB);
	tear_down();
}

/* One broken disk is the trouble of whoever needs it. */
static void test_damage(void)
{
	auto_error err = NULL;
	auto_free char *path = NULL;
	auto_strv Strv volumes = { 0 };

	set_up();
	scribble(VM, 0);
	clone_volume(VM, FORK);
	clone_volume(VM, FORK2);
	path = path_of(FORK2, ".qcow2");
	CHECK_INT(truncate(path, 50), 0);
	CHECK_FAILS(storage->clone(pool, FORK2, "another", 0, NULL, &err), err, ERR_FAILED);
	CHECK_OK(storage->list(pool, &volumes, &err), err);
	CHECK_INT(volumes.count, 4);
	destroy(VM);
	destroy(FORK);
	/* What it may need was kept, and goes with it or is found later. */
	CHECK(has_file(FORK, ".origin.qcow2"));
	destroy(FORK2);
	tear_down();
}

/* Layers in a ring, and a layer that is missing. */
static void test_ring(void)
{
	auto_error err = NULL;
	auto_storage_usage StorageUsage usage = { 0 };
	auto_free char *from = NULL;
	auto_free char *layer = NULL;
	uint64_t bytes;

	set_up();
	scribble(VM, 0);
	clone_volume(VM, FORK);
	from = path_of(VM, ".qcow2");
	layer = path_of(FORK, ".origin.qcow2");
	CHECK_INT(rename(from, layer), 0);
	CHECK_FAILS(storage->clone(pool, FORK, FORK2, 0, NULL, &err), err, ERR_FAILED);
	CHECK_OK(storage->usage(pool, NULL, 0, &usage, &err), err);
	CHECK_INT(unlink(layer), 0);
	CHECK_FAILS(storage->clone(pool, FORK, FORK2, 0, NULL, &err), err, ERR_NOT_FOUND);
	CHECK_OK(storage->size(pool, FORK, &bytes, &err), err);
	tear_down();
}

int main(void)
{
	static const Test tests[] = {
		{ "a header, and what is none", test_header },
		{ "a fresh overlay", test_fresh },
		{ "content through layers", test_content },
		{ "content that comes back", test_copy_in },
		{ "forks of what nobody wrote to stand side by side", test_reuse },
		{ "a clone of a disk in use", test_live },
		{ "a clone killed and failed at each step", test_clone_killed },
		{ "grown by its header", test_resize },
		{ "who owns which bytes", test_usage },
		{ "a damaged disk", test_damage },
		{ "layers in a ring", test_ring },
	};

	(void)atexit(forget);
	return test_main(tests, ARRAY_SIZE(tests));
}
