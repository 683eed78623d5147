/*
 * Who owns which bytes: counted by whole files. A layer belongs to every volume above it, with all that newer writes
 * may hide of it, since that is what the volume keeps on the disk.
 */
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "storage/qcow2.h"
#include "storage/qcow2_layers.h"
#include "util/fs.h"
#include "util/mem.h"

/* One file of the store, under one of its names. */
typedef struct File {
	char *name;
	ino_t inode;
	uint64_t data_bytes, metadata_bytes; /* on the disk */
	uint64_t provisioned_bytes;
	size_t backing; /* which file; SIZE_MAX: none */
	size_t twin;	/* the first file with that inode; may be itself */
	size_t users;	/* of a twin: volumes that reach it */
	size_t seen_by; /* the last of them */
} File;

typedef struct Files {
	File *items;
	size_t count;
} Files;

static void release_files(Files *files)
{
	for (size_t i = 0; i < files->count; i++)
		free(files->items[i].name);
	free(files->items);
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const File *)a)->name, ((const File *)b)->name);
}

static size_t find(const Files *files, const char *name)
{
	File key = { .name = (char *)(uintptr_t)name };
	const File *found =
		files->count ? bsearch(&key, files->items, files->count, sizeof(key), compare)
			     : NULL;

	return found ? (size_t)(found - files->items) : SIZE_MAX;
}

static bool is_volume(const char *name)
{
	return !qcow2_is_layer(name) &&
	       (str_ends_with(name, QCOW2_RAW) || str_ends_with(name, QCOW2_OVERLAY));
}

/* Tables: a cluster for each GiB that was written to, and the beginning of the file. */
static int measure_overlay(const char *dir, File *file, char **out_backing, Error **err)
{
	uint64_t tables, metadata;
	Qcow2Header header;

	if (qcow2_count_tables(dir, file->name, &header, &tables, err) < 0)
		return -1;
	metadata = tables * QCOW2_CLUSTER + 4 * QCOW2_SUBCLUSTER;
	file->metadata_bytes = metadata < file->data_bytes ? metadata : file->data_bytes;
	file->data_bytes -= file->metadata_bytes;
	file->provisioned_bytes = header.size_bytes;
	*out_backing = xstrdup(header.backing);
	return 0;
}

/* Files that go while we look are left out. */
static int measure(const char *dir, const Strv *names, Files *files, Strv *backings, Error **err)
{
	for (size_t i = 0; i < names->count; i++) {
		auto_free char *path = path_join(dir, names->items[i]);
		auto_free char *backing = NULL;
		auto_error gone = NULL;
		File file = { .name = names->items[i], .backing = SIZE_MAX, .seen_by = SIZE_MAX };
		struct stat st;

		if ((!qcow2_is_layer(file.name) && !is_volume(file.name)) || stat(path, &st) < 0)
			continue;
		file.inode = st.st_ino;
		file.data_bytes = (uint64_t)st.st_blocks * 512;
		file.provisioned_bytes = (uint64_t)st.st_size;
		if (str_ends_with(file.name, QCOW2_OVERLAY) &&
		    measure_overlay(dir, &file, &backing, &gone) < 0) {
			if (error_code(gone) == ERR_NOT_FOUND)
				continue;
			error_move(err, &gone);
			return -1;
		}
		file.name = xstrdup(file.name);
		file.twin = files->count;
		files->items[files->count++] = file;
		strv_push(backings, backing ? backing : "");
	}
	return 0;
}

/* A volume and its layer are one file with two names. */
static void find_twins(Files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		auto_free char *owner = qcow2_file_owner(files->items[i].name);

		for (size_t j = i; j-- > 0;) {
			if (!str_starts_with(files->items[j].name, owner))
				break;
			if (files->items[j].inode == files->items[i].inode)
				files->items[i].twin = j;
		}
	}
}

static int look(const char *dir, Files *files, Error **err)
{
	auto_strv Strv names = { 0 };
	auto_strv Strv backings = { 0 };

	if (fs_list(dir, &names, err) < 0)
		return -1;
	files->items = xcalloc(names.count + 1, sizeof(*files->items));
	if (measure(dir, &names, files, &backings, err) < 0)
		return -1;
	for (size_t i = 0; i < files->count; i++)
		if (*backings.items[i])
			files->items[i].backing = find(files, backings.items[i]);
	find_twins(files);
	return 0;
}

/* The next file below, as its first name; SIZE_MAX: that was the last. */
static size_t below(const Files *files, size_t at)
{
	size_t next = files->items[at].backing;

	return next == SIZE_MAX ? next : files->items[next].twin;
}

static void count_users(Files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		if (!is_volume(files->items[i].name))
			continue;
		for (size_t at = files->items[i].twin; at != SIZE_MAX; at = below(files, at)) {
			/* A ring is damage, and no reason to go round for ever. */
			if (files->items[at].seen_by == i)
				break;
			files->items[at].seen_by = i;
			files->items[at].users++;
		}
	}
}

static uint64_t at_most(uint64_t bytes, uint64_t limit)
{
	return bytes < limit ? bytes : limit;
}

/* What newer writes hide is in no disk: a volume never reaches more than what the guest sees, and its tables. */
static VolumeUsage weigh(const Files *files, size_t volume)
{
	uint64_t data = 0, metadata = 0, own_data = 0, own_metadata = 0;
	uint64_t provisioned = files->items[volume].provisioned_bytes;
	size_t steps = 0;

	for (size_t at = files->items[volume].twin; at != SIZE_MAX && steps++ < files->count;
	     at = below(files, at)) {
		const File *file = &files->items[at];

		data += file->data_bytes;
		metadata += file->metadata_bytes;
		if (file->users > 1)
			continue;
		own_data += file->data_bytes;
		own_metadata += file->metadata_bytes;
	}
	data = at_most(data, provisioned) + metadata;
	return (VolumeUsage){ .volume = qcow2_file_owner(files->items[volume].name),
			      .provisioned_bytes = provisioned,
			      .referenced_bytes = data,
			      .logical_bytes = data,
			      .exclusive_bytes = at_most(own_data, provisioned) + own_metadata };
}

static void add_up(const Files *files, StorageUsage *usage)
{
	usage->items = xcalloc(files->count + 1, sizeof(*usage->items));
	usage->metadata_bytes = 0;
	usage->reserved_bytes = 0;
	for (size_t i = 0; i < files->count; i++) {
		const File *file = &files->items[i];

		if (file->twin == i) {
			usage->allocated_bytes += file->data_bytes + file->metadata_bytes;
			usage->metadata_bytes += file->metadata_bytes;
		}
		if (!is_volume(file->name))
			continue;
		usage->addressable_bytes += file->provisioned_bytes;
		usage->items[usage->count++] = weigh(files, i);
	}
	usage->logical_bytes = usage->allocated_bytes;
}

/* A file of the store, as it is counted for a group. */
typedef struct Shares {
	size_t group; /* the last that reached it */
	size_t users; /* of that group */
} Shares;

/* A layer is a group's alone when all that reach it are in the group. */
static void weigh_chain(const Files *files, Shares *shares, size_t group, size_t volume,
			uint64_t *referenced, uint64_t *exclusive)
{
	size_t steps = 0;

	for (size_t at = files->items[volume].twin; at != SIZE_MAX && steps++ < files->count;
	     at = below(files, at)) {
		const File *file = &files->items[at];
		uint64_t bytes = file->data_bytes + file->metadata_bytes;

		if (shares[at].group != group) {
			shares[at] = (Shares){ .group = group };
			*referenced += bytes;
		}
		if (++shares[at].users == file->users)
			*exclusive += bytes;
	}
}

/* No more than its volumes reach one by one. */
static VolumeUsage weigh_group(const Files *files, Shares *shares, size_t group,
			       const Strv *volumes)
{
	uint64_t referenced = 0, exclusive = 0, limit = 0;

	for (size_t i = 0; i < volumes->count; i++) {
		auto_free char *overlay = qcow2_file(volumes->items[i], QCOW2_OVERLAY);
		auto_free char *raw = qcow2_file(volumes->items[i], QCOW2_RAW);
		size_t at = find(files, overlay);
		auto_free char *name = NULL;
		VolumeUsage alone;

		if (at == SIZE_MAX)
			at = find(files, raw);
		if (at == SIZE_MAX)
			continue;
		alone = weigh(files, at);
		name = alone.volume;
		limit += alone.referenced_bytes;
		weigh_chain(files, shares, group, at, &referenced, &exclusive);
	}
	referenced = at_most(referenced, limit);
	return (VolumeUsage){ .provisioned_bytes = STORAGE_UNKNOWN,
			      .referenced_bytes = referenced,
			      .logical_bytes = referenced,
			      .exclusive_bytes = at_most(exclusive, referenced) };
}

static void weigh_groups(const Files *files, const Strv *groups, size_t group_count,
			 StorageUsage *usage)
{
	auto_free Shares *shares = xcalloc(files->count + 1, sizeof(*shares));

	for (size_t i = 0; i < files->count; i++)
		shares[i].group = SIZE_MAX;
	usage->groups = xcalloc(group_count + 1, sizeof(*usage->groups));
	for (size_t i = 0; i < group_count; i++)
		usage->groups[i] = weigh_group(files, shares, i, &groups[i]);
}

int qcow2_usage(StoragePool *pool, const Strv *groups, size_t group_count, StorageUsage *out_usage,
		Error **err)
{
	CLEANUP(release_files) Files files = { 0 };
	StorageCapacity capacity;
	StorageUsage usage = { 0 };

	if (clonefile_capacity(pool, &capacity, err) < 0 || look(pool->dir, &files, err) < 0)
		return -1;
	usage.capacity_bytes = capacity.total_bytes;
	count_users(&files);
	add_up(&files, &usage);
	weigh_groups(&files, groups, group_count, &usage);
	*out_usage = usage;
	return 0;
}
