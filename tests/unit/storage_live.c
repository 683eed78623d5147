/*
 * What every back end promises while others are at work: two processes that clone, and a disk that is
 * written to while it is cloned.
 */
#include "storage_test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/deadline.h"
#include "util/fs.h"
#include "util/mem.h"

/* Ten clones each from two processes that know nothing of each other. */
static void test_clone_at_once(void)
{
	StoragePool *pool = open_pool();
	pid_t children[2];

	import_volume(pool, IMAGE);
	for (int who = 0; who < 2; who++) {
		children[who] = fork();
		CHECK(children[who] >= 0);
		if (children[who] > 0)
			continue;
		StoragePool *own = NULL;
		int failures = host->storage->open(&site, &own, NULL) < 0;

		for (int i = 0; i < 10 && !failures; i++) {
			auto_free char *name = numbered_volume(who * 10 + i);

			failures += host->storage->clone(own, IMAGE, name, 0, NULL, NULL) < 0;
			/* One of two that ask for the same name gets it. */
			(void)host->storage->clone(own, IMAGE, VM, 0, NULL, NULL);
		}
		_exit(failures);
	}
	for (int who = 0; who < 2; who++) {
		int status = -1;

		CHECK_INT(waitpid(children[who], &status, 0), children[who]);
		CHECK_INT(status, 0);
	}
	check_volumes(pool, 22);
	CHECK(volume_holds(pool, VM, 0, 'i', IMAGE_BYTES));
	CHECK_INT(write_volume(pool, VM, 0, 'v', 4096), 0);
	for (int i = 0; i < 20; i++) {
		auto_free char *name = numbered_volume(i);

		CHECK(volume_holds(pool, name, 0, 'i', 65536));
	}
	remove_all(pool);
}

#define LATER_BYTES (2 * MIB)

/* Counts, first at the beginning and then farther on; each is on the disk before the next. */
static void count_for_ever(const char *path, uint64_t *shared)
{
	auto_fd fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		_exit(1);
	for (uint64_t i = 1;; i++) {
		if (pwrite(fd, &i, sizeof(i), 0) < 0 || fdatasync(fd) < 0 ||
		    pwrite(fd, &i, sizeof(i), LATER_BYTES) < 0 || fdatasync(fd) < 0)
			_exit(1);
		__atomic_store_n(shared, i, __ATOMIC_SEQ_CST);
	}
}

static void read_counters(StoragePool *pool, const char *volume, uint64_t out_counters[2])
{
	auto_error err = NULL;
	auto_storage_disk StorageDisk disk = { 0 };
	auto_fd fd = -1;

	CHECK_OK(host->storage->attach(pool, volume, &disk, &err), err);
	fd = open(disk.path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_INT(pread(fd, &out_counters[0], sizeof(uint64_t), 0), sizeof(uint64_t));
	CHECK_INT(pread(fd, &out_counters[1], sizeof(uint64_t), LATER_BYTES), sizeof(uint64_t));
	close_fd(&fd);
	CHECK_OK(let_go(pool, volume, &err), err);
}

static int never_switch(void *arg, const StorageDisk *overlay UNUSED, Error **err)
{
	*(bool *)arg = true;
	return error_set(err, ERR_FAILED, "a raw disk has no overlays");
}

static void wait_for_more(uint64_t *counter)
{
	uint64_t before = __atomic_load_n(counter, __ATOMIC_SEQ_CST);
	Deadline until = deadline_in_ms(30000);

	while (__atomic_load_n(counter, __ATOMIC_SEQ_CST) < before + 3 && !deadline_passed(until))
		(void)usleep(1000);
	CHECK(__atomic_load_n(counter, __ATOMIC_SEQ_CST) >= before + 3);
}

/* Each copy is what the disk holds after a power cut at one instant of the call, and the writer
 * goes on as if nothing were. */
static void check_live_clones(StoragePool *pool, uint64_t *counter)
{
	bool switched = false;
	const StorageLive live = { .arg = &switched, .switch_to = never_switch };

	for (int i = 0; i < 5; i++) {
		auto_error err = NULL;
		uint64_t before, after, found[2];

		wait_for_more(counter);
		before = __atomic_load_n(counter, __ATOMIC_SEQ_CST);
		CHECK_OK(host->storage->clone(pool, VM, OTHER, 0, &live, &err), err);
		after = __atomic_load_n(counter, __ATOMIC_SEQ_CST);
		read_counters(pool, OTHER, found);
		CHECK(found[0] >= before && found[0] <= after + 1);
		CHECK(found[0] == found[1] || found[0] == found[1] + 1);
		destroy_volume(pool, OTHER);
	}
	CHECK(!switched);
	wait_for_more(counter);
}

static void test_live_clone(void)
{
	auto_error err = NULL;
	auto_storage_disk StorageDisk disk = { 0 };
	StoragePool *pool = open_pool();
	uint64_t *counter = mmap(NULL, sizeof(*counter), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t writer;
	jmp_buf outer;
	bool failed = false;

	CHECK(counter != MAP_FAILED);
	import_volume(pool, IMAGE);
	clone_volume(pool, IMAGE, VM, 0);
	CHECK_OK(host->storage->attach(pool, VM, &disk, &err), err);
	if (disk.format != DISK_RAW) {
		remove_all(pool);
		storage_disk_release(&disk); /* skipping releases nothing */
		test_skip("only its hypervisor writes this format: see test_qcow2");
	}
	writer = fork();
	CHECK(writer >= 0);
	if (writer == 0)
		count_for_ever(disk.path, counter);
	/* Whatever fails, the writer does not outlive this. */
	memcpy(&outer, &test_escape, sizeof(outer));
	if (setjmp(test_escape) == 0)
		check_live_clones(pool, counter);
	else
		failed = true;
	memcpy(&test_escape, &outer, sizeof(outer));
	(void)kill(writer, SIGKILL);
	(void)waitpid(writer, NULL, 0);
	(void)munmap(counter, sizeof(*counter));
	CHECK(!failed);
	CHECK_OK(let_go(pool, VM, &err), err);
	remove_all(pool);
}

const Case live_cases[] = {
	{ "cloned by two processes at once", test_clone_at_once },
	{ "a clone of a disk that is written to", test_live_clone },
};
const size_t live_count = ARRAY_SIZE(live_cases);
