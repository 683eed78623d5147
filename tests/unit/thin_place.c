#include "thin_place.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "dies_at.h"
#include "storage/dm.h"
#include "util/deadline.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

StorageSite site;
char root[64];
static const StorageBackend *const thin = &dm_thin_storage;
static char *state_dir, *store_dir;

void leave(void)
{
	if (!*root)
		return;
	(void)unsetenv("EMBER_FAIL_AT");
	(void)unsetenv("EMBER_KILL_AT");
	(void)thin->deinit(&site, true, NULL);
	(void)fs_remove_tree(root, NULL);
	free(steal(&state_dir));
	free(steal(&store_dir));
	*root = '\0';
}

void enter(void)
{
	auto_free char *reason = NULL;

	leave();
	(void)snprintf(root, sizeof(root), "/tmp/ember-thin-XXXXXX");
	CHECK(mkdtemp(root));
	state_dir = path_join(root, "state");
	store_dir = path_join(state_dir, "store");
	site = (StorageSite){ .state_dir = state_dir,
			      .store_dir = store_dir,
			      .size_bytes = STORE_BYTES,
			      .instance_id = instance_id };
	if (thin->probe(&site, &reason, NULL) != 1) {
		printf("# %s\n", reason);
		test_skip("no device mapper");
	}
}

bool init(void)
{
	auto_error err = NULL;
	bool adopted = false;

	CHECK_OK(thin->init(&site, &adopted, &err), err);
	return adopted;
}

StoragePool *open_pool(void)
{
	auto_error err = NULL;
	StoragePool *pool = NULL;

	CHECK_OK(thin->open(&site, &pool, &err), err);
	return pool;
}

void import_image(StoragePool *pool)
{
	auto_error err = NULL;
	auto_free char *path = NULL;
	auto_free char *data = xmalloc(MIB);
	auto_fd fd = -1;

	memset(data, 'i', MIB);
	CHECK_OK(thin->import_path(pool, IMAGE, &path, &err), err);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	CHECK_OK(fs_write_all(fd, data, MIB, &err), err);
	CHECK_OK(thin->import_commit(pool, IMAGE, &err), err);
}

StoragePool *make_store(void)
{
	auto_error err = NULL;
	StoragePool *pool;

	enter();
	(void)init();
	pool = open_pool();
	import_image(pool);
	CHECK_OK(thin->clone(pool, IMAGE, VM, 8 * MIB, NULL, &err), err);
	return pool;
}

int open_volume(StoragePool *pool, const char *volume, int flags)
{
	auto_error err = NULL;
	auto_storage_disk StorageDisk disk = { 0 };

	CHECK_OK(thin->attach(pool, volume, &disk, &err), err);
	return open(disk.path, flags | O_CLOEXEC);
}

char first_byte(StoragePool *pool, const char *volume)
{
	auto_fd fd = open_volume(pool, volume, O_RDONLY);
	char byte = 0;

	CHECK(fd >= 0);
	CHECK_INT(pread(fd, &byte, 1, 0), 1);
	return byte;
}

size_t volumes(StoragePool *pool, Strv *out_names)
{
	auto_error err = NULL;

	CHECK_OK(thin->list(pool, out_names, &err), err);
	return out_names->count;
}

void need_fake(void)
{
	if (!getenv("EMBER_FAKE_DM_PROGRAM"))
		test_skip("takes a device mapper that misbehaves");
}

void order(const char *a, const char *b, const char *c)
{
	auto_command Command cmd = { 0 };
	auto_error err = NULL;

	command_init(&cmd, getenv("EMBER_FAKE_DM_PROGRAM"), a, b, c, NULL);
	CHECK_OK(command_run(&cmd, deadline_in_ms(20000), &err), err);
}

void kill_at(const char *step, void (*act)(void))
{
	bool died = dies_at(step, act);

	if (!died)
		printf("# '%s' was not reached\n", step);
	CHECK(died);
}

char *device_prefix(void)
{
	return xasprintf("ember-%s-", instance_id);
}

char *pool_device(void)
{
	return xasprintf("ember-%s-pool", instance_id);
}

bool is_held(void)
{
	auto_free char *prefix = device_prefix();
	Deadline until = deadline_in_ms(3000);

	for (;;) {
		auto_strv Strv names = { 0 };
		bool held = false;

		CHECK_INT(dm_list(prefix, &names, NULL), 0);
		for (size_t i = 0; i < names.count; i++) {
			DmInfo info;

			CHECK_INT(dm_info(names.items[i], &info, NULL), 0);
			held |= info.is_active && info.is_suspended;
		}
		if (!held || deadline_passed(until))
			return held;
		(void)usleep(5000);
	}
}
