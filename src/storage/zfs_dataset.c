#include "storage/zfs_dataset.h"

#include <string.h>

#include "storage/zfs_command.h"
#include "storage/zfs_pool.h"
#include "util/failpoint.h"
#include "util/mem.h"

#define MARK "ember:installation"
/* The administrator made the dataset, and a purge leaves it to him. */
#define KEEP "ember:keep"

/* Whose is it? 1 the dataset is there (*out_mark is "-" when it has no mark), 0 not. */
static int read_mark(const char *dataset, char **out_mark, Error **err)
{
	auto_command Command cmd = { 0 };
	auto_error cause = NULL;
	char *fields[ZFS_FIELDS_MAX];
	char *text;

	if (zfs_ask(&cmd, &cause, "zfs", "list", "-Hp", "-t", "filesystem", "-o", MARK, dataset,
		    NULL) < 0) {
		if (error_code(cause) == ERR_NOT_FOUND)
			return 0;
		error_move(err, &cause);
		return -1;
	}
	text = cmd.output.text;
	if (!zfs_next_row(&text, fields))
		return error_set(err, ERR_FAILED, "zfs says nothing about '%s'", dataset);
	*out_mark = xstrdup(fields[0]);
	return 1;
}

static int check_mark(const StorageSite *site, const char *dataset, const char *mark, Error **err)
{
	if (!strcmp(mark, site->instance_id))
		return 0;
	if (!strcmp(mark, "-"))
		error_set(err, ERR_EXISTS, "the zfs dataset '%s' is not ember's", dataset);
	else
		error_set(
			err, ERR_EXISTS,
			"the zfs dataset '%s' is the store of installation '%s', and this is '%s'",
			dataset, mark, site->instance_id);
	return error_hint(err, "name another one: ember init --storage zfs --dataset NAME");
}

static int create_dataset(const StorageSite *site, const char *dataset, Error **err)
{
	auto_free char *mark = xasprintf(MARK "=%s", site->instance_id);

	/* Guests' partitions are no business of the host's: volmode=dev shows it plain disks. */
	if (failpoint("storage.zfs.dataset", err) < 0)
		return -1;
	return zfs_do(err, "zfs", "create", "-o", "mountpoint=none", "-o", "canmount=off", "-o",
		      "volmode=dev", "-o", mark, dataset, NULL);
}

/* One that the administrator made for us, perhaps with a quota. It must be empty. */
static int take_dataset(const StorageSite *site, const char *dataset, Error **err)
{
	auto_free char *mark = xasprintf(MARK "=%s", site->instance_id);
	auto_command Command cmd = { 0 };
	char *fields[ZFS_FIELDS_MAX];
	char *text;

	if (zfs_ask(&cmd, err, "zfs", "list", "-Hpr", "-t", "all", "-o", "name", dataset, NULL) < 0)
		return -1;
	text = cmd.output.text;
	while (zfs_next_row(&text, fields))
		if (strcmp(fields[0], dataset) != 0)
			return check_mark(site, dataset, "-", err);
	if (failpoint("storage.zfs.dataset.take", err) < 0)
		return -1;
	return zfs_do(err, "zfs", "set", KEEP "=yes", "volmode=dev", mark, dataset, NULL);
}

int zfs_dataset_make(const StorageSite *site, bool *out_adopted, Error **err)
{
	auto_free char *dataset = NULL;
	auto_free char *mark = NULL;
	int there;

	if (zfs_dataset_name(site, &dataset, err) < 0)
		return -1;
	there = read_mark(dataset, &mark, err);
	if (there < 0)
		return -1;
	*out_adopted = there && !strcmp(mark, site->instance_id);
	if (!there)
		return create_dataset(site, dataset, err);
	if (!strcmp(mark, "-"))
		return take_dataset(site, dataset, err);
	return check_mark(site, dataset, mark, err);
}

int zfs_dataset_find(const StorageSite *site, const char *dataset, Error **err)
{
	auto_free char *mark = NULL;
	int there = read_mark(dataset, &mark, err);

	if (there == 0 && zfs_pool_is_own(site)) {
		if (zfs_pool_bring_in(site, err) < 0)
			return -1;
		there = read_mark(dataset, &mark, err);
	}
	if (there < 0)
		return -1;
	if (there)
		return check_mark(site, dataset, mark, err);
	error_set(err, ERR_NOT_FOUND, "the zfs dataset '%s' is missing", dataset);
	return zfs_pool_is_own(site)
		       ? error_hint(err, "begin anew: ember deinit --purge")
		       : error_hint(err, "import its pool: zpool import %s", site->pool);
}

/* The youngest first, since clones are younger than what they were made of. */
static int destroy_volumes(const char *dataset, Error **err)
{
	auto_command Command cmd = { 0 };
	char *fields[ZFS_FIELDS_MAX];
	char *text;

	if (zfs_ask(&cmd, err, "zfs", "list", "-Hp", "-d", "1", "-t", "volume", "-S", "createtxg",
		    "-o", "name", dataset, NULL) < 0)
		return -1;
	text = cmd.output.text;
	while (zfs_next_row(&text, fields))
		if (zfs_insist(err, "zfs", "destroy", "-r", fields[0], NULL) < 0)
			return -1;
	return 0;
}

int zfs_dataset_purge(const StorageSite *site, Error **err)
{
	auto_command Command cmd = { 0 };
	auto_free char *dataset = NULL;
	auto_free char *mark = NULL;
	char *fields[ZFS_FIELDS_MAX];
	char *text;
	int there;

	if (zfs_dataset_name(site, &dataset, err) < 0)
		return -1;
	there = read_mark(dataset, &mark, err);
	if (there <= 0 || strcmp(mark, site->instance_id) != 0)
		return there < 0 ? -1 : 0;
	if (zfs_ask(&cmd, err, "zfs", "list", "-Hp", "-o", KEEP, dataset, NULL) < 0 ||
	    destroy_volumes(dataset, err) < 0)
		return -1;
	text = cmd.output.text;
	if (!zfs_next_row(&text, fields) || strcmp(fields[0], "yes") != 0)
		return zfs_insist(err, "zfs", "destroy", dataset, NULL);
	if (zfs_do(err, "zfs", "inherit", KEEP, dataset, NULL) < 0)
		return -1;
	return zfs_do(err, "zfs", "inherit", MARK, dataset, NULL);
}
