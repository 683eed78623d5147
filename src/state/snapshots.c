#include "state/snapshots.h"

#include <string.h>

#include "model/size.h"
#include "model/uuid.h"
#include "state/records.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"

#define SNAPSHOTS "snapshots"
#define RECORD	  "snapshot.json"

json_t *snapshot_to_json(const Snapshot *snapshot)
{
	json_t *doc = json_object();

	json_put_u64(doc, "schema", RECORD_SCHEMA);
	json_put_string(doc, "name", snapshot->name);
	json_put_string(doc, "id", snapshot->id);
	json_put_string(doc, "vm_id", snapshot->vm_id);
	json_put_string(doc, "created_at", snapshot->created_at);
	json_put_u64(doc, "size", snapshot->disk_size_mib * MIB);
	json_put_string(doc, "vm_status", vm_state_name(snapshot->vm_state));
	json_put_bool(doc, "memory", false);
	json_put_string(doc, "consistency", consistency_name(snapshot->consistency));
	return doc;
}

static int get_words(const json_t *doc, Snapshot *snapshot, Error **err)
{
	auto_free char *status = NULL;
	auto_free char *consistency = NULL;

	if (json_get_string(doc, "vm_status", &status, err) < 0 ||
	    json_get_string(doc, "consistency", &consistency, err) < 0)
		return -1;
	if (!vm_state_parse(status, &snapshot->vm_state))
		return error_set(err, ERR_FAILED, "field 'vm_status' has an unknown value");
	if (!consistency_parse(consistency, &snapshot->consistency))
		return error_set(err, ERR_FAILED, "field 'consistency' has an unknown value");
	return 0;
}

int snapshot_from_json(const json_t *doc, Snapshot *out_snapshot, Error **err)
{
	auto_snapshot Snapshot snapshot = { 0 };
	uint64_t size;

	if (record_check_schema(doc, err) < 0 ||
	    json_get_string(doc, "name", &snapshot.name, err) < 0 ||
	    name_check("snapshot", snapshot.name, err) < 0 ||
	    json_get_string(doc, "id", &snapshot.id, err) < 0 ||
	    json_get_string(doc, "vm_id", &snapshot.vm_id, err) < 0 ||
	    json_get_string_opt(doc, "created_at", &snapshot.created_at, err) < 0 ||
	    json_get_u64(doc, "size", INT64_MAX, &size, err) < 0 ||
	    get_words(doc, &snapshot, err) < 0)
		return -1;
	if (!uuid_is_valid(snapshot.id) || !uuid_is_valid(snapshot.vm_id))
		return error_set(err, ERR_FAILED, "field 'id' or 'vm_id' is not a UUID");
	snapshot.disk_size_mib = size / MIB;
	*out_snapshot = snapshot;
	snapshot = (Snapshot){ 0 };
	return 0;
}

char *snapshots_dir(const Store *store, const char *vm_name)
{
	return store_vm_file(store, vm_name, SNAPSHOTS);
}

char *snapshot_dir(const Store *store, const char *vm_name, const char *name)
{
	auto_free char *dir = snapshots_dir(store, vm_name);

	return path_join(dir, name);
}

static int read_at(const char *dir, Snapshot *out_snapshot, Error **err)
{
	auto_free char *path = path_join(dir, RECORD);
	json_auto_t *doc = NULL;

	if (json_read_file(path, &doc, err) < 0)
		return -1;
	if (snapshot_from_json(doc, out_snapshot, err) < 0)
		return error_wrap(err, "read '%s'", path);
	return 0;
}

/* A record says whose volume is meant, so a copy of it in another place must not speak for it. */
static int read_of_vm(const char *dir, const char *vm_id, Snapshot *out_snapshot, Error **err)
{
	auto_snapshot Snapshot snapshot = { 0 };

	if (read_at(dir, &snapshot, err) < 0)
		return -1;
	if (!str_equal(snapshot.name, path_basename(dir)) || !str_equal(snapshot.vm_id, vm_id))
		return error_set(err, ERR_FAILED, "the record in '%s' is that of another snapshot",
				 dir);
	*out_snapshot = snapshot;
	snapshot = (Snapshot){ 0 };
	return 0;
}

static int not_found(const char *dir, const Vm *vm, const char *name, Error **err)
{
	auto_strv Strv names = { 0 };
	const char *nearest = NULL;

	if (fs_list(dir, &names, NULL) == 0 && names.count)
		nearest = str_nearest(name, (const char *const *)names.items, names.count);
	error_set(err, ERR_NOT_FOUND, "snapshot '%s' of vm '%s' does not exist", name, vm->name);
	if (nearest)
		return error_hint(err, "did you mean '%s'? list them: ember snapshot list %s",
				  nearest, vm->name);
	return error_hint(err, "list them: ember snapshot list %s", vm->name);
}

int snapshots_read(const Store *store, const Vm *vm, const char *name, Snapshot *out_snapshot,
		   Error **err)
{
	auto_free char *all = snapshots_dir(store, vm->name);
	auto_free char *dir = NULL;

	if (name_check("snapshot", name, err) < 0)
		return -1;
	dir = path_join(all, name);
	if (!fs_exists(dir))
		return not_found(all, vm, name, err);
	if (read_of_vm(dir, vm->id, out_snapshot, err) == 0)
		return 0;
	error_recode(err, ERR_FAILED);
	error_wrap(err, "snapshot '%s' of vm '%s' is broken", name, vm->name);
	return error_hint(err, "remove it: ember snapshot delete %s %s", vm->name, name);
}

int snapshots_list(const Store *store, const Vm *vm, SnapshotList *out_list, Error **err)
{
	auto_free char *all = snapshots_dir(store, vm->name);
	auto_strv Strv names = { 0 };

	if (fs_list(all, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++) {
		auto_free char *dir = path_join(all, names.items[i]);
		auto_snapshot Snapshot snapshot = { 0 };

		if (name_check("snapshot", names.items[i], NULL) < 0)
			continue; /* not ours */
		if (read_of_vm(dir, vm->id, &snapshot, NULL) < 0) {
			if (!fs_exists(dir))
				continue; /* deleted meanwhile */
			snapshot.name = xstrdup(names.items[i]);
		}
		snapshot_list_push_take(out_list, &snapshot);
	}
	return 0;
}

int snapshots_write_new_at(const char *dir, const Snapshot *snapshot, Error **err)
{
	auto_free char *path = path_join(dir, RECORD);
	json_auto_t *doc = snapshot_to_json(snapshot);

	return json_write_new_file(path, doc, err);
}

int snapshots_write_at(const char *dir, const Snapshot *snapshot, Error **err)
{
	auto_free char *path = path_join(dir, RECORD);
	json_auto_t *doc = snapshot_to_json(snapshot);

	return json_write_file(path, doc, true, err);
}

/* In tmp/ and trash/ the directory's name ends with the begin of the id: that of a copy does not. */
static bool is_place_of(const char *dir, const char *id)
{
	auto_free char *ending = xasprintf(":%.8s", id);

	return str_ends_with(dir, ending);
}

void snapshots_read_volumes_at(const char *dir, const char *vm_id, Strv *out_volumes)
{
	auto_free char *all = path_join(dir, SNAPSHOTS);
	auto_snapshot Snapshot own = { 0 };
	auto_strv Strv names = { 0 };

	if (read_at(dir, &own, NULL) == 0 && is_place_of(dir, own.id))
		strv_push(out_volumes, own.id);
	if (!vm_id || fs_list(all, &names, NULL) < 0)
		return;
	for (size_t i = 0; i < names.count; i++) {
		auto_free char *one = path_join(all, names.items[i]);
		auto_snapshot Snapshot snapshot = { 0 };

		if (read_of_vm(one, vm_id, &snapshot, NULL) == 0)
			strv_push(out_volumes, snapshot.id);
	}
}
