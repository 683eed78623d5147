/*
 * Commands that look at VMs and change nothing.
 */
#include <string.h>

#include "cli/commands.h"
#include "model/size.h"
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

static CellMood state_mood(VmState state)
{
	if (state == VM_RUNNING)
		return MOOD_GOOD;
	return state == VM_BROKEN ? MOOD_BAD : MOOD_PLAIN;
}

static void add_row(Table *table, const Vm *vm)
{
	bool is_live = vm_state_is_live(vm->state);

	table_add_text(table, vm->name);
	table_add_mood(table, vm_state_name(vm->state), state_mood(vm->state));
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
	table_add_text(table, is_live ? vm->network.guest_ip : NULL);
	table_add_age(table, is_live ? vm->started_at : NULL);
}

static void list_as_table(App *app, const VmList *list, const ListArgs *opt)
{
	static const Column columns[] = {
		{ "NAME", "name" }, { "STATUS", "status" }, { "IMAGE", "image" },
		{ "CPUS", "cpus" }, { "MEMORY", "memory" }, { "DISK", "disk" },
		{ "IP", "ip" },	    { "UPTIME", "uptime" }, { 0 }
	};
	auto_table Table table = { 0 };

	table_init(&table, columns);
	for (size_t i = 0; i < list->count; i++)
		if (is_wanted(&list->items[i], opt))
			add_row(&table, &list->items[i]);
	if (list->count == 0)
		output_text(&app->out, "No VMs found. Create one with: "
				       "ember vm create <name> --image <image>");
	else if (table.cell_count == 0)
		output_text(&app->out, "No VMs found that match.");
	else
		output_table(&app->out, &table, NULL);
}

int cmd_vm_list(App *app, const Args *args, Error **err)
{
	const ListArgs *opt = args->options;
	CLEANUP(vm_list_release) VmList list = { 0 };
	bool is_first = true;

	if (ops_vm_list(&app->ctx, &list, err) < 0)
		return -1;
	if (!app->out.is_json) {
		list_as_table(app, &list, opt);
		return 0;
	}
	output_list_begin(&app->out);
	for (size_t i = 0; i < list.count; i++) {
		if (!is_wanted(&list.items[i], opt))
			continue;
		output_list_item_take(&app->out, vm_to_json(&list.items[i]), is_first);
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

static void print_vm(App *app, const Vm *vm, const ExitReport *report)
{
	bool is_live = vm_state_is_live(vm->state);
	const char *mode = vm->network.mode ? vm->network.mode : vm->network_mode;
	Fact facts[] = {
		{ "Name", xstrdup(vm->name) },
		{ "Id", xstrdup_null(vm->id) },
		{ "Status", xstrdup(vm_state_name(vm->state)) },
		{ "Image", xstrdup_null(vm->image) },
		{ "Forked from", xstrdup_null(vm->parent_vm) },
		{ "CPUs", xasprintf("%u", vm->cpus) },
		{ "Memory", size_text(vm->memory_mib * MIB) },
		{ "Disk size", size_text(vm->disk_size_mib * MIB) },
		{ "Disk", xstrdup_null(vm->disk_path) },
		{ "Kernel", xstrdup(vm->kernel ? vm->kernel : "default") },
		{ "Boot arguments", xstrdup_null(vm->boot_args) },
		{ "Image's command", vm->run_cmd ? xstrdup("at each boot") : NULL },
		{ "Hypervisor", runs_with(vm) },
		{ "Process", is_live ? xasprintf("%d", (int)vm->process.pid) : NULL },
		{ "Network", xstrdup(mode ? mode : "default") },
		{ "IP", is_live ? xstrdup_null(vm->network.guest_ip) : NULL },
		{ "MAC", xstrdup_null(vm->network.guest_mac) },
		{ "User", xstrdup_null(vm->user) },
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

	auto_exit_report ExitReport report = { 0 };
	json_t *doc;

	if (ops_vm_inspect(&app->ctx, args->words[0], &vm, err) < 0 ||
	    ops_vm_last_exit(&app->ctx, args->words[0], &report, err) < 0)
		return -1;
	if (!app->out.is_json) {
		print_vm(app, &vm, &report);
		return 0;
	}
	doc = vm_to_json(&vm);
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
