/*
 * Who uses which bytes of a ZFS store, as ZFS itself counts them: with their metadata, after
 * compression, and exact to the last transaction, which is brought about first.
 */
#include <stdlib.h>
#include <string.h>

#include "storage/zfs.h"
#include "util/mem.h"

#define COLUMNS                                                                                 \
	"name,volsize,usedbydataset,written,referenced,logicalreferenced,usedbyrefreservation," \
	"origin,used,available,logicalused"
enum {
	NAME,
	VOLSIZE,
	OWN,
	WRITTEN,
	REFERENCED,
	LOGICAL,
	RESERVED,
	ORIGIN,
	USED,
	AVAILABLE,
	LOGICAL_USED
};

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* `own` is what its snapshots do not have in common with another dataset; what it has in common with its own snapshots is
 * also its clones'. */
static VolumeUsage read_volume(const StoragePool *pool, char *const *fields, const Strv *parents)
{
	VolumeUsage usage = {
		.volume = xstrdup(fields[NAME] + strlen(pool->dataset) + 1),
		.provisioned_bytes = zfs_figure(fields[VOLSIZE]),
		.referenced_bytes = zfs_figure(fields[REFERENCED]),
		.exclusive_bytes = zfs_figure(fields[OWN]),
		.logical_bytes = zfs_figure(fields[LOGICAL]),
	};

	if (strv_has(parents, fields[NAME]))
		usage.exclusive_bytes = smaller(usage.exclusive_bytes, zfs_figure(fields[WRITTEN]));
	usage.exclusive_bytes = smaller(usage.exclusive_bytes, usage.referenced_bytes);
	return usage;
}

static bool is_volume(const StoragePool *pool, const char *name)
{
	size_t len = strlen(pool->dataset);

	return strncmp(name, pool->dataset, len) == 0 && name[len] == '/' &&
	       storage_check_name(name + len + 1, NULL) == 0;
}

static void read_pool(char *const *fields, StorageUsage *usage)
{
	uint64_t used = zfs_figure(fields[USED]);

	usage->capacity_bytes = used + zfs_figure(fields[AVAILABLE]);
	usage->allocated_bytes = used;
	usage->logical_bytes = zfs_figure(fields[LOGICAL_USED]);
	usage->metadata_bytes = STORAGE_UNKNOWN;
}

/* The volumes that something was cloned from. */
static void find_parents(const char *text, Strv *parents)
{
	auto_free char *copy = xstrdup(text);
	char *fields[ZFS_FIELDS_MAX];
	char *next = copy;

	while (zfs_next_row(&next, fields)) {
		size_t len = strcspn(fields[ORIGIN], "@");

		if (fields[ORIGIN][len] == '@')
			strv_push_take(parents, xstrndup(fields[ORIGIN], len));
	}
}

int zfs_usage(StoragePool *pool, const Strv *groups UNUSED, size_t group_count UNUSED,
	      StorageUsage *out_usage, Error **err)
{
	auto_storage_usage StorageUsage usage = { 0 };
	auto_command Command cmd = { 0 };
	auto_strv Strv parents = { 0 };
	char *fields[ZFS_FIELDS_MAX];
	char *text;

	/* Only for the figures to be of now: without the right to it they are of seconds ago. */
	(void)zfs_do(NULL, "zpool", "sync", pool->pool, NULL);
	if (zfs_ask(&cmd, err, "zfs", "list", "-Hpr", "-t", "filesystem,volume", "-o", COLUMNS,
		    pool->dataset, NULL) < 0)
		return error_wrap(err, "ask zfs who uses which bytes");
	find_parents(strbuf_str(&cmd.output), &parents);
	text = cmd.output.text;
	while (zfs_next_row(&text, fields)) {
		usage.reserved_bytes += zfs_figure(fields[RESERVED]);
		if (!strcmp(fields[NAME], pool->dataset)) {
			read_pool(fields, &usage);
			continue;
		}
		if (!is_volume(pool, fields[NAME]))
			continue;
		usage.items = xreallocarray(usage.items, usage.count + 1, sizeof(*usage.items));
		usage.items[usage.count] = read_volume(pool, fields, &parents);
		usage.addressable_bytes += usage.items[usage.count++].provisioned_bytes;
	}
	usage.allocated_bytes -= smaller(usage.reserved_bytes, usage.allocated_bytes);
	*out_usage = usage;
	usage = (StorageUsage){ 0 };
	return 0;
}
