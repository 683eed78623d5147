/*
 * forks VM COUNT: COUNT forks of a stopped VM in a row, against a loop that does nothing but what the
 * disk must see of them: FICLONE of the same file, a record as long as a VM's, and the same fsyncs.
 * The two take turns, ten at a time, so that both clone a file that has as many clones already.
 * Works on the installation of EMBER_STATE_DIR and leaves it as it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "ops/vm.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

#define TURN 10

typedef struct Bench {
	Context ctx;
	Vm source;
	char *disk;
	char *record;
	size_t record_bytes;
	char *store_dir, *tmp_dir, *vms_dir;
} Bench;

_Noreturn static void fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static void sync_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		fail(path);
	(void)close(fd);
}

static void write_synced(const char *path, const char *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len || fsync(fd) < 0)
		fail(path);
	(void)close(fd);
}

static void clone_synced(const char *from, const char *to)
{
	int source = open(from, O_RDONLY | O_CLOEXEC);
	int target = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (source < 0 || target < 0 || ioctl(target, FICLONE, source) < 0 || fsync(target) < 0)
		fail(to);
	(void)close(source);
	(void)close(target);
}

/* In the order of a fork: record, disk, and then the names. */
static uint64_t fork_bare(const Bench *bench, size_t number)
{
	auto_free char *made = xasprintf("%s/bare-%zu", bench->tmp_dir, number);
	auto_free char *record = xasprintf("%s/vm.json", made);
	auto_free char *disk = xasprintf("%s/bare-%zu.bench", bench->store_dir, number);
	auto_free char *vm = xasprintf("%s/.bare-%zu", bench->vms_dir, number);
	uint64_t began = now_ns();

	if (mkdir(made, 0700) < 0)
		fail(made);
	write_synced(record, bench->record, bench->record_bytes);
	clone_synced(bench->disk, disk);
	if (!os_sync_brings_name(bench->store_dir))
		sync_path(bench->store_dir);
	sync_path(made);
	if (rename(made, vm) < 0)
		fail(vm);
	sync_path(bench->vms_dir);
	return now_ns() - began;
}

static void remove_bare(const Bench *bench, size_t number)
{
	auto_free char *disk = xasprintf("%s/bare-%zu.bench", bench->store_dir, number);
	auto_free char *vm = xasprintf("%s/.bare-%zu", bench->vms_dir, number);

	(void)fs_remove(disk, NULL);
	(void)fs_remove_tree(vm, NULL);
}

/* As a command does it, without the start of a program. */
static int fork_ours(const char *source, size_t number, uint64_t *out_ns, Error **err)
{
	auto_free char *name = xasprintf("fork-%zu", number);
	VmChanges changes = { 0 };
	uint64_t began = now_ns();
	Context ctx = { 0 };
	auto_vm Vm vm = { 0 };
	int result = -1;

	if (context_init(&ctx, NULL, err) == 0)
		result = ops_vm_fork(&ctx, source, name, &changes, &vm, err);
	context_release(&ctx);
	*out_ns = now_ns() - began;
	return result;
}

static int delete_ours(Bench *bench, size_t number, Error **err)
{
	auto_free char *name = xasprintf("fork-%zu", number);

	return ops_vm_delete(&bench->ctx, name, true, /* out_snapshots= */ NULL, err);
}

static int open_bench(Bench *bench, const char *name, Error **err)
{
	auto_free char *record = NULL;

	if (context_init(&bench->ctx, NULL, err) < 0 || context_load(&bench->ctx, err) < 0 ||
	    ops_vm_inspect(&bench->ctx, name, &bench->source, err) < 0)
		return -1;
	record = store_vm_file(&bench->ctx.store, name, "vm.json");
	if (fs_read(record, 1U << 20, &bench->record, &bench->record_bytes, err) < 0)
		return -1;
	bench->disk = xstrdup(bench->source.disk_path);
	bench->store_dir = store_path(&bench->ctx.store, "store");
	bench->tmp_dir = store_path(&bench->ctx.store, "tmp");
	bench->vms_dir = store_path(&bench->ctx.store, "vms");
	return 0;
}

static void close_bench(Bench *bench)
{
	vm_release(&bench->source);
	context_release(&bench->ctx);
	free(bench->disk);
	free(bench->record);
	free(bench->store_dir);
	free(bench->tmp_dir);
	free(bench->vms_dir);
}

static uint64_t add_up(const Samples *samples)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < samples->count; i++)
		sum += samples->items[i];
	return sum;
}

static int measure(Bench *bench, size_t count, Error **err)
{
	Samples ours = { 0 }, bare = { 0 };

	for (size_t first = 0; first < count; first += TURN) {
		for (size_t i = first; i < first + TURN; i++) {
			uint64_t ns;

			if (fork_ours(bench->source.name, i, &ns, err) < 0)
				return -1;
			samples_add(&ours, ns);
		}
		for (size_t i = first; i < first + TURN; i++)
			samples_add(&bare, fork_bare(bench, i));
	}
	for (size_t i = 0; i < ours.count; i++) {
		remove_bare(bench, i);
		if (delete_ours(bench, i, err) < 0)
			return -1;
	}
	printf("{\"ours_total_ns\":%" PRIu64 ",\"bare_total_ns\":%" PRIu64 ",", add_up(&ours),
	       add_up(&bare));
	samples_print("ours", &ours, ",");
	samples_print("bare", &bare, "}\n");
	return 0;
}

int main(int argc, char **argv)
{
	auto_error err = NULL;
	Bench bench = { 0 };
	int result;

	if (argc != 3 || atoi(argv[2]) < TURN) {
		(void)fprintf(stderr, "usage: forks VM COUNT\n");
		return 2;
	}
	result = open_bench(&bench, argv[1], &err);
	if (result == 0)
		result = measure(&bench, (size_t)atoi(argv[2]), &err);
	close_bench(&bench);
	if (result < 0) {
		auto_free char *text = error_sentence(err);

		(void)fprintf(stderr, "%s\n", text);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
