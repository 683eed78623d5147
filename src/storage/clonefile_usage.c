/*
 * Who uses which bytes of a store of cloned files: counted from the places of their extents.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "storage/clonefile.h"
#include "storage/extents.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

static int open_any(const StoragePool *pool, const char *volume, int *out_fd)
{
	auto_free char *path = clonefile_volume_file(pool, volume);
	auto_free char *import = clonefile_import_file(pool, volume);

	*out_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (*out_fd < 0 && errno == ENOENT)
		*out_fd = open(import, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return *out_fd < 0 ? -1 : 0;
}

typedef struct Walk {
	const StoragePool *pool;
	VolumeUsage *items;
} Walk;

static int show_extents(void *arg, size_t file, OsExtentVisit visit, void *visit_arg)
{
	const Walk *walk = arg;
	VolumeUsage *item = &walk->items[file];
	auto_fd fd = -1;
	struct stat st;

	if (open_any(walk->pool, item->volume, &fd) < 0)
		return errno == ENOENT ? 0 : -1;
	if (fstat(fd, &st) < 0)
		return -1;
	item->provisioned_bytes = (uint64_t)st.st_size;
	return os_extents(fd, item->provisioned_bytes, visit, visit_arg);
}

static void fill_item(VolumeUsage *item, const ExtentCount *count)
{
	item->referenced_bytes = count->is_unknown ? STORAGE_UNKNOWN : count->mapped_bytes;
	item->exclusive_bytes = count->is_unknown ? STORAGE_UNKNOWN : count->exclusive_bytes;
	item->logical_bytes = item->referenced_bytes;
}

/* Volumes that were removed since they were listed are left out. */
static void fill_items(StorageUsage *usage, const ExtentCount *counts)
{
	size_t kept = 0;

	for (size_t i = 0; i < usage->count; i++) {
		VolumeUsage *item = &usage->items[i];

		if (item->provisioned_bytes == STORAGE_UNKNOWN && !counts[i].is_unknown) {
			free(item->volume);
			continue;
		}
		fill_item(item, &counts[i]);
		if (counts[i].is_unknown)
			usage->allocated_bytes = STORAGE_UNKNOWN;
		if (item->provisioned_bytes != STORAGE_UNKNOWN)
			usage->addressable_bytes += item->provisioned_bytes;
		usage->items[kept++] = *item;
	}
	usage->count = kept;
	usage->logical_bytes = usage->allocated_bytes;
}

/* A filesystem of its own: what it takes beyond the volumes is its metadata. One that the store
 * shares with others does not tell. */
static int fill_pool(const StoragePool *pool, StorageUsage *usage, Error **err)
{
	auto_free char *parent = path_join(pool->dir, "..");
	struct stat own, above;
	struct statvfs fs;
	uint64_t used;

	if (stat(pool->dir, &own) < 0 || stat(parent, &above) < 0 || statvfs(pool->dir, &fs) < 0)
		return error_set_errno(err, errno, "look at the store '%s'", pool->dir);
	usage->capacity_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
	usage->metadata_bytes = STORAGE_UNKNOWN;
	if (own.st_dev == above.st_dev || usage->allocated_bytes == STORAGE_UNKNOWN)
		return 0;
	used = (uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize;
	usage->metadata_bytes = used > usage->allocated_bytes ? used - usage->allocated_bytes : 0;
	return 0;
}

/* Every volume, with nothing but its name. */
static int list_items(StoragePool *pool, StorageUsage *usage, Error **err)
{
	auto_strv Strv volumes = { 0 };

	if (clonefile_list(pool, &volumes, err) < 0)
		return -1;
	usage->count = volumes.count;
	usage->items = xcalloc(volumes.count + 1, sizeof(*usage->items));
	for (size_t i = 0; i < volumes.count; i++)
		usage->items[i] = (VolumeUsage){ .volume = xstrdup(volumes.items[i]),
						 .provisioned_bytes = STORAGE_UNKNOWN };
	return 0;
}

/* A volume, and the group that has it. */
typedef struct Member {
	const char *volume;
	size_t group;
} Member;

static int compare_members(const void *one, const void *other)
{
	return strcmp(((const Member *)one)->volume, ((const Member *)other)->volume);
}

/* Who owns each volume: the groups come first, then one owner for each volume that is in none. Owned. */
static size_t *find_owners(const StorageUsage *usage, const Strv *groups, size_t group_count)
{
	size_t *owners = xcalloc(usage->count + 1, sizeof(*owners));
	auto_free Member *members = NULL;
	size_t count = 0;

	for (size_t i = 0; i < group_count; i++)
		count += groups[i].count;
	members = xcalloc(count + 1, sizeof(*members));
	count = 0;
	for (size_t i = 0; i < group_count; i++)
		for (size_t j = 0; j < groups[i].count; j++)
			members[count++] = (Member){ .volume = groups[i].items[j], .group = i };
	qsort(members, count, sizeof(*members), compare_members);
	for (size_t i = 0; i < usage->count; i++) {
		Member key = { .volume = usage->items[i].volume };
		const Member *found =
			bsearch(&key, members, count, sizeof(*members), compare_members);

		owners[i] = found ? found->group : group_count + i;
	}
	return owners;
}

static void fill_groups(StorageUsage *usage, size_t group_count, const ExtentCount *counts)
{
	usage->groups = xcalloc(group_count + 1, sizeof(*usage->groups));
	for (size_t i = 0; i < group_count; i++)
		fill_item(&usage->groups[i], &counts[i]);
}

int clonefile_usage(StoragePool *pool, const Strv *groups, size_t group_count,
		    StorageUsage *out_usage, Error **err)
{
	auto_storage_usage StorageUsage usage = { 0 };
	auto_free ExtentCount *counts = NULL;
	auto_free ExtentCount *group_counts = NULL;
	auto_free size_t *owners = NULL;
	Walk walk = { .pool = pool };

	if (list_items(pool, &usage, err) < 0)
		return -1;
	walk.items = usage.items;
	owners = find_owners(&usage, groups, group_count);
	counts = xcalloc(usage.count + 1, sizeof(*counts));
	group_counts = xcalloc(group_count + usage.count + 1, sizeof(*group_counts));
	extents_count(&(ExtentSet){ show_extents, &walk, usage.count },
		      (ExtentView[]){ { NULL, usage.count, counts },
				      { owners, group_count + usage.count, group_counts } },
		      group_count > 0 ? 2 : 1, EXTENTS_HELD, &usage.allocated_bytes);
	fill_items(&usage, counts);
	fill_groups(&usage, group_count, group_counts);
	if (fill_pool(pool, &usage, err) < 0)
		return -1;
	*out_usage = usage;
	usage = (StorageUsage){ 0 };
	return 0;
}
