#include "storage/zfs_pool.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "storage/superblock.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* A volume's name is below it, and a snapshot's of as many characters behind that: 255 in all. */
#define DATASET_NAME_MAX 120
/* Our own pool is about disks and nothing else; one of the administrator's has other things in it. */
#define OWN_DATASET "disks"

char *zfs_pool_name(const StorageSite *site)
{
	return site->pool ? xstrdup(site->pool) : xasprintf("ember-%.6s", site->instance_id);
}

bool zfs_pool_is_own(const StorageSite *site)
{
	return !site->pool || site->path;
}

/* Letters, digits and -_.: in parts that begin with a letter or digit: what zfs takes, and never an option of it. */
static bool is_name(const char *name)
{
	for (const char *c = name; *c; c++) {
		bool is_first = c == name || c[-1] == '/';

		if (isalnum((unsigned char)*c))
			continue;
		if (is_first || !strchr("-_.:/", *c) || (*c == '/' && !c[1]))
			return false;
	}
	return *name && strlen(name) <= DATASET_NAME_MAX;
}

static int check_names(const char *pool, const char *dataset, Error **err)
{
	if (!is_name(pool) || strchr(pool, '/') || isdigit((unsigned char)*pool)) {
		error_set(err, ERR_USAGE, "'%s' cannot be the name of a zfs pool", pool);
		return error_hint(err, "see which pools there are: zpool list");
	}
	if (is_name(dataset))
		return 0;
	error_set(err, ERR_USAGE, "'%s' cannot be the name of a zfs dataset", dataset);
	return error_hint(err, "for example --dataset ember");
}

int zfs_dataset_name(const StorageSite *site, char **out_dataset, Error **err)
{
	auto_free char *pool = zfs_pool_name(site);
	auto_free char *marked = xasprintf("ember-%.6s", site->instance_id);
	const char *dataset = site->dataset ? site->dataset : site->pool ? marked : OWN_DATASET;
	size_t len = strlen(pool);

	/* As zfs prints it, with the pool. */
	if (!strncmp(dataset, pool, len) && dataset[len] == '/')
		dataset += len + 1;
	if (check_names(pool, dataset, err) < 0)
		return -1;
	*out_dataset = xasprintf("%s/%s", pool, dataset);
	return 0;
}

int zfs_require_root(const char *what, Error **err)
{
	if (geteuid() == 0)
		return 0;
	error_set(err, ERR_DENIED, "%s", what);
	return error_hint(err, "run the command as root once, for example with sudo");
}

int zfs_pool_is_there(const char *pool, Error **err)
{
	auto_error cause = NULL;

	if (zfs_do(&cause, "zpool", "list", "-H", "-o", "name", pool, NULL) == 0)
		return 1;
	if (error_code(cause) == ERR_NOT_FOUND)
		return 0;
	error_move(err, &cause);
	return -1;
}

/* /dev/sdb is a pool's when its first partition is: /dev/sdb1, /dev/nvme0n1p1, /dev/disk/by-id/X-part1. */
static bool is_part_of(const char *vdev, const char *path)
{
	size_t len = strlen(path);
	const char *rest = vdev + len;

	if (strncmp(vdev, path, len) != 0)
		return false;
	if (str_starts_with(rest, "-part"))
		rest += strlen("-part");
	else if (*rest == 'p')
		rest++;
	return strspn(rest, "0123456789") == strlen(rest);
}

int zfs_pool_find_vdev(const char *pool, const char *path, char **out_vdev, Error **err)
{
	auto_command Command cmd = { 0 };
	auto_free char *real = realpath(path, NULL);
	char *fields[ZFS_FIELDS_MAX];
	char *text;

	/* Of the pool itself the first field is the name, of its parts the second one. */
	if (zfs_ask(&cmd, err, "zpool", "list", "-HLPv", "-o", "name", pool, NULL) < 0)
		return -1;
	*out_vdev = NULL;
	text = cmd.output.text;
	while (zfs_next_row(&text, fields)) {
		auto_free char *found = *fields[0] ? NULL : realpath(fields[1], NULL);
		const char *vdev = found ? found : fields[1];

		if (is_part_of(vdev, real ? real : path)) {
			*out_vdev = xstrdup(fields[1]);
			return 0;
		}
	}
	return 0;
}

/* Its first partition, where zpool puts the pool on a whole disk. Owned, or NULL. */
static char *partition_of(const char *path)
{
	static const char *const suffixes[] = { "1", "p1", "-part1" };

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		auto_free char *partition = xasprintf("%s%s", path, suffixes[i]);

		if (fs_exists(partition))
			return steal(&partition);
	}
	return NULL;
}

/* A whole disk has a partition table of zpool's making, and the pool behind it. */
static int look_into(const Backing *backing, Superblock *out, Error **err)
{
	auto_free char *partition = NULL;
	Superblock inside;
	auto_fd fd = -1;

	if (superblock_read(backing->fd, backing->size_bytes, out, err) < 0)
		return error_wrap(err, "look at '%s'", backing->path);
	if (!out->kind || !strcmp(out->kind, "zfs") || !backing->is_device)
		return 0;
	partition = partition_of(backing->path);
	fd = partition ? open(partition, O_RDONLY | O_CLOEXEC) : -1;
	if (fd >= 0 && superblock_read(fd, backing->size_bytes / 2, &inside, NULL) == 0 &&
	    inside.kind && !strcmp(inside.kind, "zfs"))
		*out = inside;
	return 0;
}

int zfs_pool_recognise(const StorageSite *site, const Backing *backing, Error **err)
{
	auto_free char *pool = zfs_pool_name(site);
	Superblock found;

	if (look_into(backing, &found, err) < 0)
		return -1;
	if (!found.kind)
		return 0;
	if (!strcmp(found.kind, "zfs") && !strcmp(found.label, pool))
		return 1;
	if (!strcmp(found.kind, "zfs") && str_starts_with(found.label, "ember-")) {
		error_set(err, ERR_EXISTS,
			  "'%s' is the store of installation '%s', and this is '%s'", backing->path,
			  found.label + strlen("ember-"), site->instance_id);
		return error_hint(
			err, "name another place: ember init --storage zfs --storage-path PATH");
	}
	return backing_not_empty(backing, &found, err);
}

/* Never forced: what zpool still takes for somebody's stays untouched. */
int zfs_pool_create(const StorageSite *site, const Backing *backing, Error **err)
{
	auto_free char *pool = zfs_pool_name(site);
	auto_command Command cmd = { 0 };

	if (failpoint("storage.zfs.pool", err) < 0 || zfs_command(&cmd, "zpool", err) < 0)
		return -1;
	command_add(&cmd, "create");
	command_add(&cmd, "-o");
	command_add(&cmd, "ashift=12");
	if (!backing->is_device) {
		command_add(&cmd, "-o");
		command_add(&cmd, "cachefile=none");
		/* A file that cannot grow is an error for whoever writes, and no reason to hang. */
		command_add(&cmd, "-o");
		command_add(&cmd, "failmode=continue");
	}
	command_add(&cmd, "-O");
	command_add(&cmd, "compression=lz4");
	command_add(&cmd, "-O");
	command_add(&cmd, "canmount=off");
	command_add(&cmd, "-m");
	command_add(&cmd, "none");
	command_add(&cmd, pool);
	command_add(&cmd, backing->path);
	return zfs_run(&cmd, err);
}

static int import(const StorageSite *site, const Backing *backing, Error **err)
{
	auto_free char *pool = zfs_pool_name(site);
	auto_free char *partition = backing->is_device ? partition_of(backing->path) : NULL;
	auto_command Command cmd = { 0 };

	if (failpoint("storage.zfs.bring", err) < 0 || zfs_command(&cmd, "zpool", err) < 0)
		return -1;
	command_add(&cmd, "import");
	command_add(&cmd, "-N");
	command_add(&cmd, "-d");
	command_add(&cmd, backing->path);
	if (partition) {
		command_add(&cmd, "-d");
		command_add(&cmd, partition);
	}
	if (!backing->is_device) {
		command_add(&cmd, "-o");
		command_add(&cmd, "cachefile=none");
	}
	command_add(&cmd, pool);
	return zfs_run(&cmd, err);
}

int zfs_pool_bring_in(const StorageSite *site, Error **err)
{
	auto_backing Backing backing = BACKING_NONE;
	auto_free char *pool = zfs_pool_name(site);
	int there = zfs_pool_is_there(pool, err);

	if (there)
		return there < 0 ? -1 : 0;
	if (zfs_require_root("the zfs pool is not imported, and only root can import it", err) < 0)
		return -1;
	there = backing_open(site, &backing, err);
	if (there < 0)
		return -1;
	if (there == 0) {
		auto_free char *path = backing_path(site);

		return storage_missing(path, err);
	}
	/* Whoever held the lock before us may have imported it. */
	there = zfs_pool_is_there(pool, err);
	if (there)
		return there < 0 ? -1 : 0;
	there = zfs_pool_recognise(site, &backing, err);
	if (there == 0)
		return error_set(err, ERR_FAILED, "'%s' is empty: this is no store", backing.path);
	return there < 0 ? -1 : import(site, &backing, err);
}
