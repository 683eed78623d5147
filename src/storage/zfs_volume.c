/*
 * Volumes of a ZFS store: zvols that are made of raw files, cloned, sealed and grown.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/zfs.h"
#include "storage/zvol.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

#define IMPORT_SUFFIX	".part"
#define NODE_TIMEOUT_MS 30000
/* A pool in a file that cannot grow is suspended with everything in it. Below this much room around
 * it nothing new is begun. */
#define HOST_RESERVE_BYTES (64ULL << 20)

static char *full_name(const StoragePool *pool, const char *volume)
{
	return xasprintf("%s/%s", pool->dataset, volume);
}

static char *snapshot_name(const StoragePool *pool, const char *volume, const char *snapshot)
{
	return xasprintf("%s/%s@%s", pool->dataset, volume, snapshot);
}

static char *part_path(const StoragePool *pool, const char *volume)
{
	return xasprintf("%s/%s" IMPORT_SUFFIX, pool->store_dir, volume);
}

static int check_host_space(const StoragePool *pool, Error **err)
{
	uint64_t free_bytes;

	if (!pool->host_file)
		return 0;
	if (fs_free_bytes(pool->host_file, &free_bytes, err) < 0)
		return -1;
	if (free_bytes >= HOST_RESERVE_BYTES)
		return 0;
	error_set(err, ERR_FAILED, "not enough space left around the pool's file '%s'",
		  pool->host_file);
	return error_hint(err, "free some space and try again: df -h '%s'", pool->host_file);
}

/* What a guest sees as a disk: a multiple of the block size. */
static int round_size(uint64_t size_bytes, uint64_t *out_bytes, Error **err)
{
	if (size_bytes > INT64_MAX - ZFS_BLOCK_SIZE)
		return error_set(err, ERR_USAGE, "a disk of %llu bytes is too large",
				 (unsigned long long)size_bytes);
	*out_bytes = (size_bytes + ZFS_BLOCK_SIZE - 1) / ZFS_BLOCK_SIZE * ZFS_BLOCK_SIZE;
	return 0;
}

/* A whole volume, or the error that a user understands. */
static int find_volume(const StoragePool *pool, const char *volume, ZfsVolume *out, Error **err)
{
	auto_zfs_volume ZfsVolume found = { 0 };
	int there;

	if (storage_check_name(volume, err) < 0)
		return -1;
	there = zfs_look(pool, volume, /* with_clones= */ false, &found, err);
	if (there < 0)
		return -1;
	if (there == 0 || !zfs_is_whole(&found)) {
		error_set(err, ERR_NOT_FOUND, "the disk '%s/%s' is missing", pool->dataset, volume);
		return error_hint(err, "see what else is wrong: ember doctor");
	}
	*out = found;
	found = (ZfsVolume){ 0 };
	return 0;
}

int zfs_import_path(StoragePool *pool, const char *volume, char **out_path, Error **err)
{
	auto_zfs_volume ZfsVolume found = { 0 };
	auto_free char *part = NULL;
	int there;

	if (storage_check_name(volume, err) < 0 || check_host_space(pool, err) < 0)
		return -1;
	there = zfs_look(pool, volume, /* with_clones= */ false, &found, err);
	if (there < 0)
		return -1;
	if (there && zfs_is_whole(&found))
		return error_set(err, ERR_EXISTS, "the disk '%s/%s' exists already", pool->dataset,
				 volume);
	/* What an interrupted import of the same name left. */
	if (there && zfs_destroy_family(pool, volume, err) < 0)
		return -1;
	part = part_path(pool, volume);
	if (fs_mkdir_all(pool->store_dir, 0700, err) < 0 || fs_remove(part, err) < 0)
		return -1;
	*out_path = steal(&part);
	return 0;
}

static int create_zvol(const StoragePool *pool, const char *volume, uint64_t size_bytes,
		       Error **err)
{
	auto_free char *name = full_name(pool, volume);
	auto_free char *size = xasprintf("%llu", (unsigned long long)size_bytes);
	auto_free char *block = xasprintf("%d", ZFS_BLOCK_SIZE);

	return zfs_do(err, "zfs", "create", "-s", "-b", block, "-V", size, name, NULL);
}

static int wait_for_node(const StoragePool *pool, const char *volume, StorageDisk *out_disk,
			 Error **err)
{
	auto_free char *name = full_name(pool, volume);
	auto_free char *path = zvol_path(pool->dataset, volume);
	bool is_device = false;

	if (zvol_wait(path, name, deadline_in_ms(NODE_TIMEOUT_MS), &is_device, err) < 0)
		return -1;
	*out_disk =
		(StorageDisk){ .path = steal(&path), .format = DISK_RAW, .is_device = is_device };
	return 0;
}

/* A new zvol reads as zeros, so the holes of the file are left alone. */
static int copy_to_zvol(const StoragePool *pool, int from_fd, const char *volume, Error **err)
{
	auto_storage_disk StorageDisk disk = { 0 };
	auto_fd to = -1;

	if (wait_for_node(pool, volume, &disk, err) < 0)
		return -1;
	to = open(disk.path, O_RDWR | O_CLOEXEC);
	if (to < 0)
		return error_set_errno(err, errno, "open disk '%s'", disk.path);
	if (fs_copy_contents(from_fd, to, /* progress= */ NULL, /* arg= */ NULL, err) < 0)
		return error_wrap(err, "copy the image to '%s'", disk.path);
	return fs_sync_fd(to, disk.path, err);
}

/* Its copies are made of this snapshot: with it the volume is whole, and what it holds is fixed. */
static int seal(const StoragePool *pool, const char *volume, Error **err)
{
	auto_free char *name = full_name(pool, volume);
	auto_free char *sealed = snapshot_name(pool, volume, ZFS_SEALED_AS);

	if (failpoint("storage.zfs.seal", err) < 0 ||
	    zfs_do(err, "zfs", "set", "readonly=on", name, NULL) < 0 ||
	    failpoint("storage.zfs.seal.commit", err) < 0)
		return -1;
	return zfs_do(err, "zfs", "snapshot", sealed, NULL);
}

int zfs_import_commit(StoragePool *pool, const char *volume, Error **err)
{
	auto_free char *part = NULL;
	auto_fd from = -1;
	struct stat st;
	uint64_t size_bytes;

	if (storage_check_name(volume, err) < 0)
		return -1;
	part = part_path(pool, volume);
	from = open(part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (from < 0 || fstat(from, &st) < 0)
		return error_set_errno(err, errno, "open imported disk '%s'", part);
	if (round_size((uint64_t)st.st_size, &size_bytes, err) < 0 ||
	    failpoint("storage.zfs.create", err) < 0 ||
	    create_zvol(pool, volume, size_bytes, err) < 0 ||
	    failpoint("storage.zfs.copy", err) < 0 || copy_to_zvol(pool, from, volume, err) < 0 ||
	    seal(pool, volume, err) < 0 || failpoint("storage.zfs.import", err) < 0)
		return -1;
	return fs_remove(part, err);
}

static char *size_setting(uint64_t size_bytes)
{
	return xasprintf("volsize=%llu", (unsigned long long)size_bytes);
}

static int set_size(const StoragePool *pool, const char *volume, uint64_t size_bytes, Error **err)
{
	auto_free char *name = full_name(pool, volume);
	auto_free char *setting = size_setting(size_bytes);

	return zfs_do(err, "zfs", "set", setting, name, NULL);
}

/* From a sealed volume at once; from another one by a snapshot of its own, which goes with the clone. It has its size from
 * the beginning. */
static int clone_of(const StoragePool *pool, const char *from, const ZfsVolume *source,
		    const char *to, uint64_t size_bytes, Error **err)
{
	auto_free char *name = full_name(pool, to);
	auto_free char *snapshot =
		snapshot_name(pool, from, source->is_sealed ? ZFS_SEALED_AS : to);
	auto_free char *setting = size_setting(size_bytes);

	if (!source->is_sealed && (failpoint("storage.zfs.snapshot", err) < 0 ||
				   zfs_do(err, "zfs", "snapshot", snapshot, NULL) < 0))
		return -1;
	if (failpoint("storage.zfs.clone", err) < 0)
		return -1;
	if (size_bytes <= source->size_bytes)
		return zfs_do(err, "zfs", "clone", snapshot, name, NULL);
	return zfs_do(err, "zfs", "clone", "-o", setting, snapshot, name, NULL);
}

/* A snapshot is the volume at one instant, with all that was synced to it: a hypervisor need not know. */
int zfs_clone(StoragePool *pool, const char *from, const char *to, uint64_t size_bytes,
	      const StorageLive *live UNUSED, Error **err)
{
	auto_zfs_volume ZfsVolume source = { 0 };
	auto_error cause = NULL;

	if (storage_check_name(to, err) < 0 || find_volume(pool, from, &source, err) < 0 ||
	    round_size(size_bytes, &size_bytes, err) < 0 || check_host_space(pool, err) < 0)
		return -1;
	if (clone_of(pool, from, &source, to, size_bytes, &cause) == 0)
		return 0;
	/* What has the name already is not ours to take back. */
	if (error_code(cause) == ERR_EXISTS)
		return error_set(err, ERR_EXISTS, "the disk '%s/%s' exists already", pool->dataset,
				 to);
	(void)zfs_destroy_family(pool, to, NULL);
	error_move(err, &cause);
	return error_wrap(err, "clone disk '%s'", from);
}

int zfs_seal(StoragePool *pool, const char *volume, Error **err)
{
	auto_zfs_volume ZfsVolume found = { 0 };

	if (find_volume(pool, volume, &found, err) < 0)
		return -1;
	return found.is_sealed ? 0 : seal(pool, volume, err);
}

int zfs_destroy(StoragePool *pool, const char *volume, Error **err)
{
	auto_free char *part = NULL;

	if (storage_check_name(volume, err) < 0)
		return -1;
	part = part_path(pool, volume);
	if (fs_remove(part, err) < 0 || zfs_destroy_family(pool, volume, err) < 0)
		return error_wrap(err, "destroy disk '%s'", volume);
	return 0;
}

/* The device tells whoever has it open, also a hypervisor that asks. */
int zfs_resize(StoragePool *pool, const char *volume, uint64_t size_bytes, bool is_live UNUSED,
	       Error **err)
{
	auto_zfs_volume ZfsVolume found = { 0 };

	if (find_volume(pool, volume, &found, err) < 0)
		return -1;
	if (size_bytes < found.size_bytes)
		return error_set(err, ERR_USAGE, "a disk cannot shrink: it has %llu bytes",
				 (unsigned long long)found.size_bytes);
	if (round_size(size_bytes, &size_bytes, err) < 0)
		return -1;
	if (size_bytes == found.size_bytes)
		return 0;
	return failpoint("storage.zfs.resize", err) < 0 ? -1
							: set_size(pool, volume, size_bytes, err);
}

/* zfs is asked only when the node is not there: to tell a volume that is missing from one that udev is late with. */
int zfs_attach(StoragePool *pool, const char *volume, StorageDisk *out_disk, Error **err)
{
	auto_zfs_volume ZfsVolume found = { 0 };
	auto_free char *name = NULL;
	auto_free char *path = NULL;
	bool is_device = false;

	if (storage_check_name(volume, err) < 0)
		return -1;
	name = full_name(pool, volume);
	path = zvol_path(pool->dataset, volume);
	if (zvol_is_there(path, name, &is_device)) {
		*out_disk = (StorageDisk){ .path = steal(&path), .is_device = is_device };
		return 0;
	}
	if (find_volume(pool, volume, &found, err) < 0)
		return -1;
	return wait_for_node(pool, volume, out_disk, err);
}

/* Imports under way are files yet. */
static int list_parts(const StoragePool *pool, Strv *volumes, Error **err)
{
	auto_strv Strv files = { 0 };

	if (fs_list(pool->store_dir, &files, err) < 0)
		return -1;
	for (size_t i = 0; i < files.count; i++) {
		const char *name = files.items[i];

		if (!str_ends_with(name, IMPORT_SUFFIX))
			continue;
		auto_free char *volume = xstrndup(name, strlen(name) - strlen(IMPORT_SUFFIX));

		if (storage_check_name(volume, NULL) == 0 && !strv_has(volumes, volume))
			strv_push_take(volumes, steal(&volume));
	}
	return 0;
}

int zfs_list(StoragePool *pool, Strv *out_volumes, Error **err)
{
	auto_command Command cmd = { 0 };
	auto_strv Strv volumes = { 0 };
	char *fields[ZFS_FIELDS_MAX];
	size_t prefix = strlen(pool->dataset) + 1;
	char *text;

	if (zfs_ask(&cmd, err, "zfs", "list", "-Hp", "-d", "1", "-t", "volume", "-o", "name",
		    pool->dataset, NULL) < 0)
		return -1;
	text = cmd.output.text;
	while (zfs_next_row(&text, fields))
		if (strlen(fields[0]) > prefix && storage_check_name(fields[0] + prefix, NULL) == 0)
			strv_push(&volumes, fields[0] + prefix);
	if (list_parts(pool, &volumes, err) < 0)
		return -1;
	for (size_t i = 0; i < volumes.count; i++)
		if (!strv_has(out_volumes, volumes.items[i]))
			strv_push(out_volumes, volumes.items[i]);
	return 0;
}

int zfs_size(StoragePool *pool, const char *volume, uint64_t *out_bytes, Error **err)
{
	auto_zfs_volume ZfsVolume found = { 0 };

	if (find_volume(pool, volume, &found, err) < 0)
		return -1;
	*out_bytes = found.size_bytes;
	return 0;
}
