/*
 * Commands about snapshots.
 */
#include "cli/commands_snapshot.h"
#include "cli/each.h"
#include "model/size.h"
#include "ops/snapshot.h"
#include "state/snapshots.h"
#include "util/json.h"

int cmd_snapshot_create(App *app, const Args *args, Error **err)
{
	auto_snapshot Snapshot snapshot = { 0 };
	SnapshotCost cost;
	json_t *doc;

	if (ops_snapshot_create(&app->ctx, args->words[0], args->words[1], &snapshot, &cost, err) <
	    0)
		return -1;
	if (!app->out.is_json) {
		output_message(&app->out, "Created snapshot '%s' of vm '%s' (%s-consistent).",
			       snapshot.name, args->words[0],
			       consistency_name(snapshot.consistency));
		return 0;
	}
	doc = snapshot_to_json(&snapshot);
	json_put_u64(doc, "still_us", cost.still_us);
	json_put_u64(doc, "clone_us", cost.clone_us);
	output_json_take(&app->out, doc);
	return 0;
}

static json_t *answer_json(const char *vm, const char *name, const char *status)
{
	return json_pack("{s:s, s:s, s:s}", "snapshot", name, "vm", vm, "status", status);
}

int cmd_snapshot_restore(App *app, const Args *args, Error **err)
{
	const char *vm = args->words[0], *name = args->words[1];

	if (ops_snapshot_restore(&app->ctx, vm, name, err) < 0)
		return -1;
	if (app->out.is_json)
		output_json_take(&app->out, answer_json(vm, name, "restored"));
	else
		output_message(&app->out, "Restored vm '%s' to snapshot '%s'.", vm, name);
	return 0;
}

static CellMood consistency_mood(Consistency consistency)
{
	return consistency == CONSISTENT_FILESYSTEM ? MOOD_PLAIN : MOOD_WARN;
}

static void add_row(Table *table, const Snapshot *snapshot)
{
	table_add_text(table, snapshot->name);
	if (!snapshot->id) {
		table_add_none(table);
		table_add_none(table);
		table_add_none(table);
		table_add_mood(table, "broken", MOOD_BAD);
		return;
	}
	table_add_age(table, snapshot->created_at);
	table_add_size(table, snapshot->disk_size_mib * MIB);
	table_add_text(table, vm_state_name(snapshot->vm_state));
	table_add_mood(table, consistency_name(snapshot->consistency),
		       consistency_mood(snapshot->consistency));
}

/* As of a sound one, with nothing known but the name. */
static json_t *broken_json(const char *name)
{
	static const char *const unknown[] = { "schema", "id",	      "vm_id",	"created_at",
					       "size",	 "vm_status", "memory", "consistency" };
	json_t *doc = json_object();

	json_put_string(doc, "name", name);
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
		json_put_take(doc, unknown[i], json_null());
	json_put_bool(doc, "broken", true);
	return doc;
}

json_t *snapshot_list_json(const SnapshotList *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		(void)json_array_append_new(array, list->items[i].id
							   ? snapshot_to_json(&list->items[i])
							   : broken_json(list->items[i].name));
	return array;
}

int cmd_snapshot_list(App *app, const Args *args, Error **err)
{
	static const Column columns[] = {
		{ "NAME", "name" },	   { "CREATED", "created_at" },	    { "SIZE", "size" },
		{ "VM WAS", "vm_status" }, { "CONSISTENT", "consistency" }, { 0 }
	};
	auto_snapshot_list SnapshotList list = { 0 };
	auto_table Table table = { 0 };

	if (ops_snapshot_list(&app->ctx, args->words[0], &list, err) < 0)
		return -1;
	if (app->out.is_json) {
		output_json_take(&app->out, snapshot_list_json(&list));
		return 0;
	}
	table_init(&table, columns);
	for (size_t i = 0; i < list.count; i++)
		add_row(&table, &list.items[i]);
	if (list.count == 0)
		output_message(
			&app->out,
			"No snapshots of vm '%s'. Take one with: ember snapshot create %s <name>",
			args->words[0], args->words[0]);
	else
		output_table(&app->out, &table, NULL);
	return 0;
}

static int delete_one(App *app, const char *name, const void *arg, json_t **out_doc, Error **err)
{
	const char *vm = arg;

	if (ops_snapshot_delete(&app->ctx, vm, name, err) < 0)
		return -1;
	if (app->out.is_json)
		*out_doc = answer_json(vm, name, "deleted");
	else
		output_message(&app->out, "Deleted snapshot '%s' of vm '%s'.", name, vm);
	return 0;
}

int cmd_snapshot_delete(App *app, const Args *args, Error **err)
{
	return each_name(app, args->words + 1, args->count - 1, false, delete_one, args->words[0],
			 err);
}
