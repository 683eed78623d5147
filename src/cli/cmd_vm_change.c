/*
 * Commands that change what a VM is: its name, the size of its disk, its settings.
 */
#include "cli/commands.h"
#include "model/size.h"
#include "ops/vm.h"
#include "state/records.h"
#include "util/json.h"
#include "util/mem.h"

int cmd_vm_rename(App *app, const Args *args, Error **err)
{
	auto_vm Vm vm = { 0 };

	if (ops_vm_rename(&app->ctx, args->words[0], args->words[1], &vm, err) < 0)
		return -1;
	if (app->out.is_json)
		output_json_take(&app->out, vm_to_json(&vm));
	else
		output_message(&app->out, "VM '%s' renamed to '%s'.", args->words[0], vm.name);
	return 0;
}

static const char *filesystem_words(ResizeEnd end)
{
	switch (end) {
	case RESIZE_GROWN:
		return "with its filesystem";
	case RESIZE_AT_RESUME:
		return "its filesystem grows when it goes on";
	case RESIZE_IN_PART:
		return "its filesystem is smaller";
	case RESIZE_NO_AGENT:
		return "its guest does not answer, and grows the filesystem at its next boot";
	case RESIZE_AT_BOOT:
		break;
	}
	return "its filesystem grows at the next boot";
}

int cmd_vm_resize(App *app, const Args *args, Error **err)
{
	const ResizeArgs *opt = args->options;
	auto_free char *size = size_text(opt->disk_size_mib * MIB);
	auto_vm Vm vm = { 0 };
	ResizeEnd end;
	json_t *doc;

	if (ops_vm_resize(&app->ctx, args->words[0], opt->disk_size_mib, &vm, &end, err) < 0)
		return -1;
	if (!app->out.is_json) {
		output_message(&app->out, "VM '%s' resized to %s, %s.", vm.name, size,
			       filesystem_words(end));
		return 0;
	}
	doc = vm_to_json(&vm);
	json_put_bool(doc, "filesystem_grown", end == RESIZE_GROWN);
	output_json_take(&app->out, doc);
	return 0;
}

int cmd_vm_update(App *app, const Args *args, Error **err)
{
	const UpdateArgs *opt = args->options;
	VmUpdate update = { .cpus = opt->cpus > 0 ? (uint32_t)opt->cpus : 0,
			    .memory_mib = opt->memory_mib,
			    .kernel = opt->kernel,
			    .network = opt->network,
			    .hypervisor = opt->hypervisor,
			    .boot_args = opt->boot_args,
			    .user = opt->user,
			    .ssh_user = opt->ssh_user,
			    .ssh_key = opt->ssh_key,
			    .env = &opt->env,
			    .labels = &opt->labels };
	auto_vm Vm vm = { 0 };
	bool changed;

	if (ops_vm_update(&app->ctx, args->words[0], &update, &vm, &changed, err) < 0)
		return -1;
	if (app->out.is_json)
		output_json_take(&app->out, vm_to_json(&vm));
	else if (!changed)
		output_message(&app->out, "Nothing to change: VM '%s' is set like that already.",
			       vm.name);
	else
		output_message(&app->out, "Updated VM '%s'.", vm.name);
	return 0;
}
