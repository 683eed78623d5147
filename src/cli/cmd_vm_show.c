/*
 * Commands that look at VMs and change nothing.
 */
#include <string.h>

#include "cli/commands.h"
#include "cli/commands_snapshot.h"
#include "cli/figures.h"
#include "model/size.h"
#include "ops/snapshot.h"
#include "ops/vm.h"
#include "state/records.h"
#include "util/json.h"
#include "util/mem.h"

#define READY_TIMEOUT_S 120
#define MS_PER_S	1000

static bool has_label(const Vm *vm, const char *wanted)
{
	size_t len = strlen(wanted);

	for (size_t i = 0; i < vm->labels.count; i++) {
		const char *label = vm->labels.items[i];

		if (!strcmp(label, wanted))
			return true;
		/* Only the key is asked for. */
		if (!strchr(wanted, '=') && !strncmp(label, wanted, len) && label[len] == '=')
			return true;
	}
	return false;
}

static bool is_wanted(const Vm *vm, const ListArgs *opt)
{
	if (opt->status.count && !strv_has(&opt->status, vm_state_name(vm->state)))
		return false;
	for (size_t i = 0; i < opt->labels.count; i++)
		if (!has_label(vm, opt->labels.items[i]))
			return false;
	return true;
}

CellMood vm_state_mood(VmState state)
{
	if (state == VM_RUNNING)
		return MOOD_GOOD;
	return state == VM_BROKEN ? MOOD_BAD : MOOD_PLAIN;
}

static void add_row(Table *table, const Vm *vm, uint64_t used)
{
	bool is_live = vm_state_is_live(vm->state);

	table_add_text(table, vm->name);
	table_add_mood(table, vm_state_name(vm->state), vm_state_mood(vm->state));
	table_add_text(table, vm->image);
	if (vm->state == VM_BROKEN) {
		table_add_none(table);
		table_add_none(table);
		table_add_none(table);
	} else {
		table_add_count(table, vm->cpus);
		table_add_size(table, vm->memory_mib * MIB);
		table_add_size(table, vm->disk_size_mib * MIB);
	}
	figure_add(table, used);
	table_add_text(table, is_live ? vm->network.guest_ip : NULL);
	table_add_age(table, is_live ? vm->started_at : NULL);
}

/* The table has no place for it. */
static void warn_of_stuck(App *app, const VmList *list)
{
	for (size_t i = 0; i < list->count; i++) {
		auto_free char *text = NULL;

		if (!list->items[i].is_stuck)
			continue;
		text = xasprintf("vm '%s' stands still: " VM_STUCK_REASON " (df -h '%s')",
				 list->items[i].name, app->ctx.store.dir);
		output_warning(&app->out, text);
	}
}

static const char *status_reason(const Vm *vm)
{
	return vm->is_stuck ? VM_STUCK_REASON : NULL;
}

/* The record, and what only a look at the VM tells. */
static json_t *seen_json(const Vm *vm)
{
	json_t *doc = vm_to_json(vm);

	json_put_string(doc, "status_reason", status_reason(vm));
	return doc;
}

static char *status_text(const Vm *vm)
{
	const char *reason = status_reason(vm);

	return reason ? xasprintf("%s: %s", vm_state_name(vm->state), reason)
		      : xstrdup(vm_state_name(vm->state));
}

static void list_as_table(App *app, const VmList *list, const uint64_t *used, const ListArgs *opt)
{
	static const Column columns[] = { { "NAME", "name" },	  { "STATUS", "status" },
					  { "IMAGE", "image" },	  { "CPUS", "cpus" },
					  { "MEMORY", "memory" }, { "DISK", "disk" },
					  { "USED", "used" },	  { "IP", "ip" },
					  { "UPTIME", "uptime" }, { 0 } };
	auto_table Table table = { 0 };

	table_init(&table, columns);
	for (size_t i = 0; i < list->count; i++)
		if (is_wanted(&list->items[i], opt))
			add_row(&table, &list->items[i], used[i]);
	if (list->count == 0)
		output_message(&app->out, "No VMs found. Create one with: "
					  "ember vm create <name> --image <image>");
	else if (table.cell_count == 0)
		output_message(&app->out, "No VMs found that match.");
	else
		output_table(&app->out, &table, NULL);
	warn_of_stuck(app, list);
}

int cmd_vm_list(App *app, const Args *args, Error **err)
{
	const ListArgs *opt = args->options;
	CLEANUP(vm_list_release) VmList list = { 0 };
	auto_free uint64_t *used = NULL;
	bool is_first = true;

	if (ops_vm_list(&app->ctx, &list, err) < 0)
		return -1;
	used = ops_usage_of_vms(&app->ctx, &list);
	if (!app->out.is_json) {
		list_as_table(app, &list, used, opt);
		return 0;
	}
	output_list_begin(&app->out);
	for (size_t i = 0; i < list.count; i++) {
		json_t *doc;

		if (!is_wanted(&list.items[i], opt))
			continue;
		doc = seen_json(&list.items[i]);
		json_put_take(doc, "used_bytes", figure_json(used[i]));
		output_list_item_take(&app->out, doc, is_first);
		is_first = false;
	}
	output_list_end(&app->out);
	return 0;
}

static char *list_text(const Strv *list)
{
	return list->count ? strv_join(list, ", ") : NULL;
}

static char *runs_with(const Vm *vm)
{
	if (vm->hypervisor && vm->accelerator)
		return xasprintf("%s (%s)", vm->hypervisor, vm->accelerator);
	return xstrdup_null(vm->hypervisor);
}

static char *kernel_text(const Vm *vm)
{
	const char *wish = vm->kernel ? vm->kernel : "default";

	if (!vm->kernel_path || str_equal(vm->kernel_path, wish))
		return xstrdup(wish);
	return xasprintf("%s (%s)", wish, vm->kernel_path);
}

static char *disk_text(const Vm *vm)
{
	auto_free char *size = size_text(vm->disk_size_mib * MIB);
	auto_free char *wish = size_text(vm->disk_resize_mib * MIB);

	return vm->disk_resize_mib ? xasprintf("%s, a resize to %s is not finished", size, wish)
				   : steal(&size);
}

static char *exit_text(const ExitReport *report)
{
	if (!report->reason)
		return NULL;
	if (report->status < 0)
		return xasprintf("%s, %s", report->reason, report->at);
	return xasprintf("%s (status %d), %s", report->reason, report->status, report->at);
}

static json_t *exit_json(const ExitReport *report)
{
	json_t *doc;

	if (!report->reason)
		return json_null();
	doc = json_object();
	json_put_take(doc, "reason", output_json_string(report->reason));
	json_put_take(doc, "status", json_integer(report->status));
	json_put_take(doc, "at", output_json_string(report->at));
	return doc;
}

static char *parent_text(const Vm *vm)
{
	if (vm->parent_vm && vm->parent_snapshot)
		return xasprintf("%s%c%s", vm->parent_vm, SNAPSHOT_SEPARATOR, vm->parent_snapshot);
	return xstrdup_null(vm->parent_vm);
}

static char *snapshots_text(const SnapshotList *list)
{
	auto_strv Strv names = { 0 };

	for (size_t i = 0; i < list->count; i++)
		strv_push(&names, list->items[i].name);
	return list_text(&names);
}

static void print_vm(App *app, const Vm *vm, const SnapshotList *snapshots, uint64_t used,
		     const ExitReport *report)
{
	bool is_live = vm_state_is_live(vm->state);
	/* Of one that runs, what it has; of others, what it will have. */
	const char *mode = is_live || !vm->network_mode ? vm->network.mode : vm->network_mode;
	Fact facts[] = {
		{ "Name", xstrdup(vm->name) },
		{ "Id", xstrdup_null(vm->id) },
		{ "Status", status_text(vm) },
		{ "Image", xstrdup_null(vm->image) },
		{ "Forked from", parent_text(vm) },
		{ "Snapshots", snapshots_text(snapshots) },
		{ "CPUs", xasprintf("%u", vm->cpus) },
		{ "Memory", size_text(vm->memory_mib * MIB) },
		{ "Disk size", disk_text(vm) },
		{ "Used", figure_text(used) },
		{ "Disk", xstrdup_null(vm->disk_path) },
		{ "Kernel", kernel_text(vm) },
		{ "Boot arguments", xstrdup_null(vm->boot_args) },
		{ "Image's command", vm->run_cmd ? xstrdup("at each boot") : NULL },
		{ "Hypervisor", runs_with(vm) },
		{ "Process", is_live ? xasprintf("%d", (int)vm->process.pid) : NULL },
		{ "Network", xstrdup(mode ? mode : "default") },
		{ "IP", is_live ? xstrdup_null(vm->network.guest_ip) : NULL },
		{ "MAC", xstrdup_null(vm->network.guest_mac) },
		{ "User", xstrdup_null(vm->user) },
		{ "SSH user", xstrdup_null(vm->ssh_user) },
		{ "SSH key", xstrdup_null(vm->ssh_key) },
		{ "Environment", list_text(&vm->env) },
		{ "Labels", list_text(&vm->labels) },
		{ "Created", xstrdup_null(vm->created_at) },
		{ "Started", xstrdup_null(vm->started_at) },
		{ "Last end", exit_text(report) },
	};

	output_facts_take(&app->out, facts, ARRAY_SIZE(facts));
}

int cmd_vm_inspect(App *app, const Args *args, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_snapshot_list SnapshotList snapshots = { 0 };
	auto_exit_report ExitReport report = { 0 };
	auto_usage_report UsageReport usage = { 0 };
	uint64_t used;
	json_t *doc;

	if (ops_vm_inspect(&app->ctx, args->words[0], &vm, err) < 0 ||
	    ops_snapshot_list(&app->ctx, args->words[0], &snapshots, err) < 0 ||
	    ops_vm_last_exit(&app->ctx, args->words[0], &report, err) < 0)
		return -1;
	ops_usage_peek(&app->ctx, &usage);
	used = usage_find(&usage, USAGE_VM, vm.name).exclusive;
	if (!app->out.is_json) {
		print_vm(app, &vm, &snapshots, used, &report);
		return 0;
	}
	doc = seen_json(&vm);
	json_put_take(doc, "snapshots", snapshot_list_json(&snapshots));
	json_put_take(doc, "used_bytes", figure_json(used));
	json_put_take(doc, "last_exit", exit_json(&report));
	output_json_take(&app->out, doc);
	return 0;
}

int cmd_vm_wait(App *app, const Args *args, Error **err)
{
	const WaitArgs *opt = args->options;
	bool for_stopped = opt->what && !strcmp(opt->what, "stopped");
	int64_t timeout_ms = opt->timeout_s > 0 ? opt->timeout_s * MS_PER_S
			     : for_stopped	? -1
						: READY_TIMEOUT_S * MS_PER_S;
	auto_vm Vm vm = { 0 };

	if (ops_vm_wait(&app->ctx, args->words[0], for_stopped ? WAIT_STOPPED : WAIT_READY,
			timeout_ms, &vm, err) < 0)
		return -1;
	if (app->out.is_json)
		output_json_take(&app->out, vm_to_json(&vm));
	else
		output_message(&app->out, "VM '%s' %s.", vm.name,
			       for_stopped ? "has stopped" : "is ready");
	return 0;
}
