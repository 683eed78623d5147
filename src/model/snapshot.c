#include "model/snapshot.h"

#include <string.h>

#include "util/mem.h"

/* What the first volume of all is called in stores that have real parents. */
#define RESERVED_NAME "base"

static const char *const names[] = {
	[CONSISTENT_CRASH] = "crash",
	[CONSISTENT_FILESYSTEM] = "filesystem",
};

const char *consistency_name(Consistency consistency)
{
	return names[consistency];
}

bool consistency_parse(const char *text, Consistency *out_consistency)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*out_consistency = (Consistency)i;
		return true;
	}
	return false;
}

void snapshot_release(Snapshot *snapshot)
{
	free(snapshot->name);
	free(snapshot->id);
	free(snapshot->vm_id);
	free(snapshot->created_at);
	*snapshot = (Snapshot){ 0 };
}

void snapshot_list_push_take(SnapshotList *list, Snapshot *snapshot)
{
	list->items = xreallocarray(list->items, list->count + 1, sizeof(*snapshot));
	list->items[list->count++] = *snapshot;
	*snapshot = (Snapshot){ 0 };
}

void snapshot_list_release(SnapshotList *list)
{
	for (size_t i = 0; i < list->count; i++)
		snapshot_release(&list->items[i]);
	free(list->items);
	*list = (SnapshotList){ 0 };
}

int snapshot_name_check(const char *name, Error **err)
{
	if (name_check("snapshot", name, err) < 0)
		return -1;
	if (strcmp(name, RESERVED_NAME) != 0)
		return 0;
	error_set(err, ERR_USAGE, "the snapshot name '%s' is reserved", name);
	return error_hint(err, "choose another name, like '%s-1'", name);
}

int snapshot_split(const char *text, char **out_vm, char **out_snapshot, Error **err)
{
	const char *at = strchr(text, SNAPSHOT_SEPARATOR);
	auto_free char *vm = at ? xstrndup(text, (size_t)(at - text)) : xstrdup(text);

	if (name_check("vm", vm, err) < 0 || (at && snapshot_name_check(at + 1, err) < 0))
		return -1;
	*out_vm = steal(&vm);
	*out_snapshot = at ? xstrdup(at + 1) : NULL;
	return 0;
}
