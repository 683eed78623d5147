/*
 * Where the storage back ends are tested. Filesystems are made on loop devices under /tmp, which
 * takes root; everybody else tests what the filesystem of /tmp can do.
 */
#include "storage_test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dies_at.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

#define RUN_TIMEOUT_MS 60000

static const char *const thin_clone_steps[] = { "storage.thin.record", "storage.thin.snap",
						"storage.thin.snap.made", NULL };
static const char *const thin_import_steps[] = { "storage.thin.record", "storage.thin.create",
						 "storage.thin.copy",	"storage.thin.seal",
						 "storage.thin.commit", NULL };
static const char *const thin_seal_steps[] = { "storage.thin.seal.volume", NULL };

const Host hosts[] = {
	{ .name = "reflink",
	  .title = "reflink on the filesystem of /tmp",
	  .storage = &reflink_storage,
	  .is_shared = true },
	{ .name = "reflink-btrfs",
	  .title = "reflink on btrfs",
	  .storage = &reflink_storage,
	  .filesystem = "btrfs" },
	{ .name = "reflink-xfs",
	  .title = "reflink on xfs",
	  .storage = &reflink_storage,
	  .filesystem = "xfs" },
	{ .name = "btrfs",
	  .title = "managed btrfs",
	  .storage = &btrfs_storage,
	  .is_mounted = true },
	{ .name = "qcow2",
	  .title = "qcow2 on the filesystem of /tmp",
	  .storage = &qcow2_storage,
	  .is_shared = true },
	{ .name = "qcow2-xfs",
	  .title = "qcow2 on xfs",
	  .storage = &qcow2_storage,
	  .filesystem = "xfs" },
	{ .name = "xfs", .title = "managed xfs", .storage = &xfs_storage, .is_mounted = true },
	{ .name = "zfs-fake",
	  .title = "zfs, played",
	  .storage = &zfs_storage,
	  .filesystem = "xfs",
	  .set_up = zfs_set_up_fake,
	  .tear_down = zfs_tear_down_fake,
	  .clone_steps = zfs_clone_steps,
	  .import_steps = zfs_import_steps,
	  .seal_steps = zfs_seal_steps },
	{ .name = "zfs",
	  .title = "zfs in a pool that is there",
	  .is_slow = true,
	  .storage = &zfs_storage,
	  .set_up = zfs_set_up_pool,
	  .tear_down = zfs_tear_down_pool,
	  .clone_steps = zfs_clone_steps,
	  .import_steps = zfs_import_steps,
	  .seal_steps = zfs_seal_steps },
	{ .name = "zfs-file",
	  .title = "zfs in a pool of ember's own",
	  .is_slow = true,
	  .storage = &zfs_storage,
	  .is_compressed = true,
	  .set_up = zfs_set_up_file,
	  .clone_steps = zfs_clone_steps,
	  .import_steps = zfs_import_steps,
	  .seal_steps = zfs_seal_steps },
	{ .name = "dm-thin",
	  .title = "dm-thin",
	  .storage = &dm_thin_storage,
	  .clone_steps = thin_clone_steps,
	  .import_steps = thin_import_steps,
	  .seal_steps = thin_seal_steps },
};
const size_t host_count = ARRAY_SIZE(hosts);

const Host *host;
char root[64];
StorageSite site;
static char *state_dir, *store_dir;
static char *host_mount;

int run(const char *program, ...)
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
	return command_run(&cmd, deadline_in_ms(RUN_TIMEOUT_MS), &err);
}

void leave_host(void)
{
	if (host) {
		if (site.state_dir)
			(void)host->storage->deinit(&site, true, NULL);
		if (host->tear_down)
			host->tear_down();
		if (host_mount)
			(void)umount2(host_mount, 0);
		(void)fs_remove_tree(root, NULL);
	}
	host = NULL;
	site = (StorageSite){ 0 };
	free(steal(&state_dir));
	free(steal(&store_dir));
	free(steal(&host_mount));
}

static int make_filesystem(const char *kind)
{
	auto_free char *file = path_join(root, "host.img");
	auto_free char *mkfs = xasprintf("mkfs.%s", kind);
	auto_fd fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	host_mount = path_join(root, "host");
	if (fd < 0 || ftruncate(fd, STORE_BYTES) < 0 || mkdir(host_mount, 0700) < 0)
		return -1;
	return run(mkfs, "-q", file, NULL) < 0 ? -1
					       : run("mount", "-oloop", file, host_mount, NULL);
}

const char *enter_host(const Host *next)
{
	auto_error err = NULL;
	auto_free char *reason = NULL;
	const char *obstacle;
	bool adopted = true;
	int usable;

	leave_host();
	(void)snprintf(root, sizeof(root), "/tmp/ember-storage-XXXXXX");
	CHECK(mkdtemp(root));
	host = next;
	if (next->filesystem && (geteuid() != 0 || make_filesystem(next->filesystem) < 0)) {
		free(steal(&host_mount));
		return "cannot make and mount that filesystem";
	}
	state_dir = path_join(host_mount ? host_mount : root, "state");
	store_dir = path_join(state_dir, "store");
	site = (StorageSite){ .state_dir = state_dir,
			      .store_dir = store_dir,
			      .size_bytes = STORE_BYTES,
			      .instance_id = "ab12" };
	obstacle = next->set_up ? next->set_up() : NULL;
	if (obstacle)
		return obstacle;
	usable = host->storage->probe(&site, &reason, &err);
	CHECK(usable >= 0);
	CHECK(reason && *reason);
	CHECK(!fs_exists(state_dir)); /* a probe leaves nothing behind */
	if (!usable) {
		printf("# %s: %s\n", host->name, reason);
		return "this host cannot have it";
	}
	CHECK_OK(host->storage->init(&site, &adopted, &err), err);
	CHECK(!adopted);
	return NULL;
}

StoragePool *open_pool(void)
{
	auto_error err = NULL;
	StoragePool *pool = NULL;

	CHECK_OK(host->storage->open(&site, &pool, &err), err);
	return pool;
}

char *store_file(void)
{
	return path_join(site.state_dir, "store.img");
}

void remove_all(StoragePool *pool)
{
	auto_strv Strv volumes = { 0 };

	(void)host->storage->list(pool, &volumes, NULL);
	for (size_t i = 0; i < volumes.count; i++)
		(void)host->storage->destroy(pool, volumes.items[i], NULL);
	host->storage->close(pool);
}

void fill_file(const char *path, char byte, size_t bytes)
{
	auto_error err = NULL;
	auto_free char *data = xmalloc(bytes);
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	memset(data, byte, bytes);
	CHECK_OK(fs_write_all(fd, data, bytes, &err), err);
}

void import_volume(StoragePool *pool, const char *volume)
{
	auto_error err = NULL;
	auto_free char *path = NULL;

	CHECK_OK(host->storage->destroy(pool, volume, &err), err);
	CHECK_OK(host->storage->import_path(pool, volume, &path, &err), err);
	fill_file(path, 'i', IMAGE_BYTES);
	CHECK_OK(host->storage->import_commit(pool, volume, &err), err);
}

void clone_volume(StoragePool *pool, const char *from, const char *to, uint64_t size_bytes)
{
	auto_error err = NULL;

	CHECK_OK(host->storage->clone(pool, from, to, size_bytes, /* live= */ NULL, &err), err);
}

void destroy_volume(StoragePool *pool, const char *volume)
{
	auto_error err = NULL;

	CHECK_OK(host->storage->destroy(pool, volume, &err), err);
}

char *numbered_volume(int number)
{
	return xasprintf("55555555-0000-4000-8000-%012d", number);
}

void check_volumes(StoragePool *pool, size_t count)
{
	auto_error err = NULL;
	auto_strv Strv volumes = { 0 };

	CHECK_OK(host->storage->list(pool, &volumes, &err), err);
	CHECK_INT(volumes.count, count);
	for (size_t i = 0; i < volumes.count; i++)
		for (size_t j = 0; j < i; j++)
			CHECK(strcmp(volumes.items[i], volumes.items[j]) != 0);
}

/* A disk with a format of its own is written and read by a program that knows it. */
static int run_qemu_io(const StorageDisk *disk, const char *option, const char *verb, char byte,
		       uint64_t offset, size_t bytes)
{
	auto_free char *text =
		xasprintf("%s -P %d %llu %zu", verb, byte, (unsigned long long)offset, bytes);

	return run("qemu-io", "-f", "qcow2", option, "-c", text, disk->path, NULL);
}

static int write_raw(const StorageDisk *disk, uint64_t offset, char byte, size_t bytes)
{
	auto_fd fd = open(disk->path, O_WRONLY | O_CLOEXEC);
	auto_free char *data = xmalloc(MIB);

	if (fd < 0)
		return -1;
	memset(data, byte, MIB);
	while (bytes > 0) {
		ssize_t put = pwrite(fd, data, bytes < MIB ? bytes : MIB, (off_t)offset);

		if (put <= 0)
			return -1;
		offset += (uint64_t)put;
		bytes -= (size_t)put;
		/* A device takes what its pool has no room for, and says so only now. */
		if (offset % (16 * MIB) == 0 && fdatasync(fd) < 0)
			return -1;
	}
	return fsync(fd);
}

int write_volume(StoragePool *pool, const char *volume, uint64_t offset, char byte, size_t bytes)
{
	auto_error err = NULL;
	auto_storage_disk StorageDisk disk = { 0 };
	int result;

	CHECK_OK(host->storage->attach(pool, volume, &disk, &err), err);
	result = disk.format == DISK_RAW
			 ? write_raw(&disk, offset, byte, bytes)
			 : run_qemu_io(&disk, "--cache=writeback", "write", byte, offset, bytes);
	CHECK_OK(let_go(pool, volume, &err), err);
	return result;
}

static bool raw_holds(const StorageDisk *disk, uint64_t offset, char byte, size_t bytes)
{
	auto_fd fd = open(disk->path, O_RDONLY | O_CLOEXEC);
	auto_free char *data = xmalloc(bytes);

	if (fd < 0 || pread(fd, data, bytes, (off_t)offset) != (ssize_t)bytes)
		return false;
	for (size_t i = 0; i < bytes; i++)
		if (data[i] != byte)
			return false;
	return true;
}

bool volume_holds(StoragePool *pool, const char *volume, uint64_t offset, char byte, size_t bytes)
{
	auto_error err = NULL;
	auto_storage_disk StorageDisk disk = { 0 };
	bool holds;

	CHECK_OK(host->storage->attach(pool, volume, &disk, &err), err);
	holds = disk.format == DISK_RAW
			? raw_holds(&disk, offset, byte, bytes)
			: run_qemu_io(&disk, "--read-only", "read", byte, offset, bytes) == 0;
	CHECK_OK(let_go(pool, volume, &err), err);
	return holds;
}

int let_go(StoragePool *pool, const char *volume, Error **err)
{
	return host->storage->detach ? host->storage->detach(pool, volume, err) : 0;
}

void kill_at(const char *step, void (*act)(void))
{
	if (!dies_at(step, act))
		test_skip("built without failure injection");
}
