#include "qcow2_place.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#include "dies_at.h"
#include "storage/qcow2_read.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

char root[64];
StoragePool *pool;
static const StorageBackend *const storage = &qcow2_storage;
static char *store_dir;

static int run(const char *program, ...)
{
	auto_command Command cmd = { 0 };
	auto_error err = NULL;
	const char *word;
	va_list words;

	command_init(&cmd, program, NULL);
	va_start(words, program);
	while ((word = va_arg(words, const char *)))
		command_add(&cmd, word);
	va_end(words);
	cmd.capture = true;
	return command_run(&cmd, deadline_in_ms(60000), &err);
}

char *path_of(const char *volume, const char *suffix)
{
	return xasprintf("%s/%s%s", store_dir, volume, suffix);
}

bool has_file(const char *volume, const char *suffix)
{
	auto_free char *path = path_of(volume, suffix);

	return fs_exists(path);
}

static void fill(const char *path, char byte, size_t bytes)
{
	auto_error err = NULL;
	auto_free char *data = xmalloc(bytes);
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	memset(data, byte, bytes);
	CHECK(fd >= 0);
	CHECK_OK(fs_write_all(fd, data, bytes, &err), err);
}

void io(const char *path, const char *text)
{
	CHECK_INT(run("qemu-io", "-f", "qcow2", "-c", text, path, NULL), 0);
}

void write_disk(const char *volume, const char *fmt, ...)
{
	auto_free char *path = path_of(volume, ".qcow2");
	auto_free char *text = NULL;
	va_list args;

	va_start(args, fmt);
	text = xvasprintf(fmt, args);
	va_end(args);
	io(path, text);
}

void clone_volume(const char *from, const char *to)
{
	auto_error err = NULL;

	CHECK_OK(storage->clone(pool, from, to, 0, NULL, &err), err);
}

void destroy(const char *volume)
{
	auto_error err = NULL;

	CHECK_OK(storage->destroy(pool, volume, &err), err);
}

void seal(const char *volume)
{
	auto_error err = NULL;

	CHECK_OK(storage->seal(pool, volume, &err), err);
}

void set_up(void)
{
	auto_error err = NULL;
	auto_free char *path = NULL;
	bool adopted;
	StorageSite site;

	(void)snprintf(root, sizeof(root), "/tmp/ember-qcow2-XXXXXX");
	CHECK(mkdtemp(root));
	store_dir = path_join(root, "store");
	site = (StorageSite){ .state_dir = root, .store_dir = store_dir };
	CHECK_OK(storage->init(&site, &adopted, &err), err);
	CHECK_OK(storage->open(&site, &pool, &err), err);
	CHECK_OK(storage->import_path(pool, IMAGE, &path, &err), err);
	fill(path, 'i', IMAGE_BYTES);
	CHECK_OK(storage->import_commit(pool, IMAGE, &err), err);
	CHECK_OK(storage->clone(pool, IMAGE, VM, DISK_BYTES, NULL, &err), err);
}

size_t count_files(void)
{
	auto_strv Strv files = { 0 };

	(void)fs_list(store_dir, &files, NULL);
	return files.count;
}

void forget(void)
{
	if (pool)
		storage->close(pool);
	pool = NULL;
	if (*root)
		(void)fs_remove_tree(root, NULL);
	*root = '\0';
	free(steal(&store_dir));
}

void tear_down(void)
{
	auto_error err = NULL;
	auto_strv Strv volumes = { 0 };

	CHECK_OK(storage->list(pool, &volumes, &err), err);
	for (size_t i = 0; i < volumes.count; i++)
		destroy(volumes.items[i]);
	CHECK_INT(count_files(), 0);
	forget();
}

size_t depth_of(const char *volume)
{
	auto_error err = NULL;
	auto_qcow2_chain Qcow2Chain chain = { 0 };
	auto_free char *file = xasprintf("%s.qcow2", volume);

	CHECK_OK(qcow2_chain_open(store_dir, file, &chain, &err), err);
	return chain.count - 1;
}

void check_files(void)
{
	auto_strv Strv files = { 0 };

	(void)fs_list(store_dir, &files, NULL);
	for (size_t i = 0; i < files.count; i++) {
		auto_free char *path = path_join(store_dir, files.items[i]);

		if (str_ends_with(path, ".qcow2"))
			CHECK_INT(run("qemu-img", "check", "-q", "-f", "qcow2", path, NULL), 0);
	}
}

char *copy_out(const char *volume, const char *name)
{
	auto_error err = NULL;
	auto_free char *path = path_join(root, name);
	auto_fd fd = -1;

	(void)unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	CHECK_OK(storage->copy_out(pool, volume, fd, NULL, NULL, &err), err);
	return steal(&path);
}

void check_same(const char *volume, const char *copy)
{
	auto_free char *path = path_of(volume, ".qcow2");

	CHECK_INT(run("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", path, copy, NULL),
		  0);
}

void check_content(const char *volume)
{
	auto_free char *copy = copy_out(volume, "copy.raw");

	check_same(volume, copy);
}

void scribble(const char *volume, int seed)
{
	write_disk(volume, "write -P %d %dk 4k", 'a' + seed, 64 + 4 * seed);
	write_disk(volume, "write -P %d %dk 300k", 'a' + seed, 1000 + 100 * seed);
	write_disk(volume, "write -P %d 1073741000 4096", 'a' + seed);
	write_disk(volume, "write -P %d %dM 1M", 'A' + seed, 2000 + seed);
	write_disk(volume, "write -z -u %dk 130k", 2048 + 128 * seed);
	write_disk(volume, "discard %dk 256k", 3000 + 64 * seed);
	write_disk(volume, "write -P %d 3221225408 64", 'a' + seed);
}

char *nth(int number)
{
	return xasprintf("55555555-0000-4000-8000-%012d", number);
}

void kill_at(const char *step, void (*act)(void))
{
	if (!dies_at(step, act))
		test_skip("built without failure injection");
}
