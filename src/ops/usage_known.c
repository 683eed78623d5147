#include "ops/usage_known.h"

#include <stdlib.h>
#include <string.h>

#include "state/records.h"
#include "state/snapshots.h"
#include "util/fs.h"
#include "util/mem.h"

void known_release_snapshots(SnapshotList *snapshots, size_t count)
{
	for (size_t i = 0; snapshots && i < count; i++)
		snapshot_list_release(&snapshots[i]);
	free(snapshots);
}

void known_release(Known *known)
{
	known_release_snapshots(known->snapshots, known->vms.count);
	vm_list_release(&known->vms);
	image_list_release(&known->images);
	strv_release(&known->pending.volumes);
	strv_release(&known->pending.owners);
	*known = (Known){ 0 };
}

/* "vm:web" or "vm:web:1a2b3c4d" -> "vm web"; owned. */
static char *owner_of_entry(const char *entry)
{
	const char *name = strchr(entry, ':');

	if (!name)
		return xstrdup(entry);
	name++;
	return xasprintf("%.*s %.*s", (int)(name - 1 - entry), entry, (int)strcspn(name, ":"),
			 name);
}

static int read_pending(Context *ctx, const char *where, Pending *pending, Error **err)
{
	auto_free char *dir = store_path(&ctx->store, where);
	auto_strv Strv entries = { 0 };

	if (fs_list(dir, &entries, err) < 0)
		return -1;
	for (size_t i = 0; i < entries.count; i++) {
		auto_free char *path = path_join(dir, entries.items[i]);

		records_read_volumes_at(path, &pending->volumes);
		while (pending->owners.count < pending->volumes.count)
			strv_push_take(&pending->owners, owner_of_entry(entries.items[i]));
	}
	return 0;
}

int known_read_snapshots(Context *ctx, const VmList *vms, SnapshotList **out_snapshots, Error **err)
{
	SnapshotList *lists = xcalloc(vms->count + 1, sizeof(*lists));

	for (size_t i = 0; i < vms->count; i++)
		if (vms->items[i].state != VM_BROKEN &&
		    snapshots_list(&ctx->store, &vms->items[i], &lists[i], err) < 0) {
			known_release_snapshots(lists, vms->count);
			return -1;
		}
	*out_snapshots = lists;
	return 0;
}

int known_read(Context *ctx, Known *out_known, Error **err)
{
	auto_known Known known = { 0 };

	if (read_pending(ctx, "tmp", &known.pending, err) < 0 ||
	    records_list_vms(&ctx->store, &known.vms, err) < 0 ||
	    known_read_snapshots(ctx, &known.vms, &known.snapshots, err) < 0 ||
	    records_list_images(&ctx->store, &known.images, err) < 0 ||
	    read_pending(ctx, "trash", &known.pending, err) < 0)
		return -1;
	*out_known = known;
	known = (Known){ 0 };
	return 0;
}

void groups_release(Groups *groups)
{
	for (size_t i = 0; i < groups->count; i++)
		strv_release(&groups->items[i]);
	free(groups->items);
	*groups = (Groups){ 0 };
}

static int compare_groups(const void *one, const void *other)
{
	const Strv *a = one, *b = other;

	return strcmp(a->items[0], b->items[0]);
}

void groups_make(const VmList *vms, const SnapshotList *snapshots, Groups *out_groups)
{
	Groups groups = { .items = xcalloc(vms->count + 1, sizeof(Strv)) };

	for (size_t i = 0; i < vms->count; i++) {
		Strv *group = &groups.items[groups.count];

		if (snapshots[i].count == 0)
			continue;
		strv_push(group, vms->items[i].volume);
		for (size_t j = 0; j < snapshots[i].count; j++)
			if (snapshots[i].items[j].id) /* else it is broken */
				strv_push(group, snapshots[i].items[j].id);
		groups.count++;
	}
	qsort(groups.items, groups.count, sizeof(*groups.items), compare_groups);
	*out_groups = groups;
}

size_t groups_find(const Groups *groups, const char *volume)
{
	Strv key = { .items = (char *[]){ (char *)(uintptr_t)volume }, .count = 1 };
	const Strv *found =
		bsearch(&key, groups->items, groups->count, sizeof(key), compare_groups);

	return found ? (size_t)(found - groups->items) : SIZE_MAX;
}
