/*
 * clone DIR VOLUME RUNS: our storage clone (with its fsync and everything else it does) against the
 * bare FICLONE ioctl and fsync, and against `cp --reflink=always`, of DIR/VOLUME.raw, turn by turn.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <spawn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/registry.h"
#include "bench.h"
#include "util/mem.h"

enum { WARM_UP_RUNS = 2 };
#define CLONE_ID "00000000-0000-4000-8000-0000000000c1"

static uint64_t clone_bare(const char *from, const char *to)
{
	uint64_t began = now_ns();
	int source = open(from, O_RDONLY | O_CLOEXEC);
	int target = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (source < 0 || target < 0 || ioctl(target, FICLONE, source) < 0 || fsync(target) < 0) {
		perror("bare clone");
		exit(EXIT_FAILURE);
	}
	(void)close(source);
	(void)close(target);
	began = now_ns() - began;
	(void)unlink(to);
	return began;
}

static uint64_t clone_by_cp(char *from, char *to)
{
	char cp[] = "cp", flag[] = "--reflink=always";
	char *argv[] = { cp, flag, from, to, NULL };
	uint64_t began = now_ns();
	pid_t pid;
	int status = -1;

	if (posix_spawnp(&pid, "cp", NULL, NULL, argv, environ) != 0 ||
	    waitpid(pid, &status, 0) < 0 || status != 0) {
		(void)fprintf(stderr, "cp --reflink=always failed\n");
		exit(EXIT_FAILURE);
	}
	began = now_ns() - began;
	(void)unlink(to);
	return began;
}

static int clone_ours(const StorageBackend *storage, StoragePool *pool, const char *volume,
		      uint64_t *out_ns, Error **err)
{
	uint64_t began = now_ns();

	if (storage->clone(pool, volume, CLONE_ID, 0, NULL, err) < 0)
		return -1;
	*out_ns = now_ns() - began;
	return storage->destroy(pool, CLONE_ID, err);
}

static int measure(const char *dir, const char *volume, int runs, Error **err)
{
	auto_free char *state = xasprintf("%s/..", dir);
	auto_free char *from = xasprintf("%s/%s.raw", dir, volume);
	auto_free char *to = xasprintf("%s/bench-clone", dir);
	const StorageSite site = { .state_dir = state, .store_dir = dir, .instance_id = "bbbb" };
	const StorageBackend *storage = storage_backend_find("reflink", err);
	Samples ours = { 0 }, bare = { 0 }, cp = { 0 };
	StoragePool *pool = NULL;

	if (!storage || storage->open(&site, &pool, err) < 0)
		return -1;
	for (int i = -WARM_UP_RUNS; i < runs; i++) {
		uint64_t ns;

		if (i == 0)
			ours.count = bare.count = cp.count = 0;
		/* Each comes as often behind the other program as the other of them. */
		if (i % 2)
			samples_add(&bare, clone_bare(from, to));
		if (clone_ours(storage, pool, volume, &ns, err) < 0)
			return -1;
		samples_add(&ours, ns);
		if (i % 2 == 0)
			samples_add(&bare, clone_bare(from, to));
		samples_add(&cp, clone_by_cp(from, to));
	}
	storage->close(pool);
	printf("{");
	samples_print("ours", &ours, ",");
	samples_print("bare", &bare, ",");
	samples_print("cp", &cp, "}\n");
	return 0;
}

int main(int argc, char **argv)
{
	auto_error err = NULL;

	if (argc != 4 || atoi(argv[3]) < 1) {
		(void)fprintf(stderr, "usage: clone DIR VOLUME RUNS\n");
		return 2;
	}
	if (measure(argv[1], argv[2], atoi(argv[3]), &err) < 0) {
		auto_free char *text = error_sentence(err);

		(void)fprintf(stderr, "%s\n", text);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
