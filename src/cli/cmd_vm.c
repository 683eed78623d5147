/*
 * Commands that change VMs.
 */
#include <stdarg.h>

#include "cli/commands.h"
#include "cli/each.h"
#include "ops/vm.h"
#include "state/records.h"
#include "util/mem.h"

#define MS_PER_S 1000

/* The answer about a VM: the record in JSON, a sentence for people. */
static void answer(App *app, const Vm *vm, const char *success, json_t **out_doc)
{
	if (app->out.is_json)
		*out_doc = vm_to_json(vm);
	else
		output_message(&app->out, "VM '%s' %s.", vm->name, success);
}

static void answer_one(App *app, const Vm *vm, const char *success)
{
	json_t *doc = NULL;

	answer(app, vm, success, &doc);
	if (doc)
		output_json_take(&app->out, doc);
}

static void replace_take(Vm *vm, Vm *newer)
{
	vm_release(vm);
	*vm = *newer;
	*newer = (Vm){ 0 };
}

/* Boot what was just made. *vm is replaced by the record as it then is. */
static int start_new(App *app, Vm *vm, Error **err)
{
	auto_vm Vm started = { 0 };

	if (ops_vm_start(&app->ctx, vm->name, &started, err) < 0) {
		error_hint(err, "try again: ember vm start %s", vm->name);
		return error_wrap(err, "vm '%s' is created but not started", vm->name);
	}
	replace_take(vm, &started);
	return 0;
}

static int wait_ready(App *app, Vm *vm, int64_t timeout_s, Error **err)
{
	auto_vm Vm ready = { 0 };

	if (ops_vm_wait(&app->ctx, vm->name, WAIT_READY, timeout_s * MS_PER_S, &ready, err) < 0)
		return -1;
	replace_take(vm, &ready);
	return 0;
}

int cmd_vm_create(App *app, const Args *args, Error **err)
{
	const CreateArgs *opt = args->options;
	VmSpec spec = { .name = args->words[0],
			.image = opt->image,
			.cpus = (uint32_t)opt->cpus,
			.memory_mib = opt->memory_mib,
			.disk_size_mib = opt->disk_size_mib,
			.kernel = opt->kernel,
			.network = opt->network,
			.hypervisor = opt->hypervisor,
			.boot_args = opt->boot_args,
			.user = opt->user,
			.env = &opt->env,
			.labels = &opt->labels,
			.run_cmd = opt->run_cmd,
			.pull = opt->pull };
	auto_vm Vm vm = { 0 };

	if (opt->wait && opt->no_start) {
		error_set(err, ERR_USAGE, "--wait and --no-start exclude each other");
		return error_hint(err, "leave one of them out");
	}
	if (ops_vm_create(&app->ctx, &spec, &vm, err) < 0 ||
	    (!opt->no_start && start_new(app, &vm, err) < 0) ||
	    (opt->wait && wait_ready(app, &vm, opt->wait_timeout_s, err) < 0))
		return -1;
	answer_one(app, &vm, "created successfully");
	return 0;
}

int cmd_vm_fork(App *app, const Args *args, Error **err)
{
	const ForkArgs *opt = args->options;
	VmChanges changes = { .cpus = opt->cpus > 0 ? (uint32_t)opt->cpus : 0,
			      .memory_mib = opt->memory_mib,
			      .disk_size_mib = opt->disk_size_mib,
			      .kernel = opt->kernel,
			      .network = opt->network };
	auto_free char *success =
		xasprintf("created successfully as a fork of '%s'", args->words[0]);
	auto_vm Vm vm = { 0 };

	if (ops_vm_fork(&app->ctx, args->words[0], args->words[1], &changes, &vm, err) < 0 ||
	    (!opt->no_start && start_new(app, &vm, err) < 0))
		return -1;
	answer_one(app, &vm, success);
	return 0;
}

/* The VMs a command is about: those named, or with --all those in one of the states. */
static int choose(App *app, const Args *args, unsigned state_mask, Strv *out_names, Error **err)
{
	const ManyArgs *opt = args->options;
	CLEANUP(vm_list_release) VmList list = { 0 };

	if (opt->all == (args->count > 0)) {
		error_set(err, ERR_USAGE,
			  opt->all ? "--all takes no names" : "the name of a VM is missing");
		return error_hint(err, "give names, or --all");
	}
	for (size_t i = 0; i < args->count; i++)
		strv_push(out_names, args->words[i]);
	if (!opt->all)
		return 0;
	if (ops_vm_list(&app->ctx, &list, err) < 0)
		return -1;
	for (size_t i = 0; i < list.count; i++)
		if (state_mask & VM_MASK(list.items[i].state))
			strv_push(out_names, list.items[i].name);
	return 0;
}

/* `verb` says what there is nothing to do for: "start". */
static int for_chosen(App *app, const Args *args, unsigned state_mask, const char *verb, EachFn fn,
		      Error **err)
{
	const ManyArgs *opt = args->options;
	auto_strv Strv names = { 0 };

	if (choose(app, args, state_mask, &names, err) < 0)
		return -1;
	if (names.count == 0)
		output_message(&app->out, "No VMs to %s.", verb);
	return each_name(app, (const char *const *)names.items, names.count, opt->all, fn, opt,
			 err);
}

static int start_one(App *app, const char *name, const void *arg UNUSED, json_t **out_doc,
		     Error **err)
{
	auto_vm Vm vm = { 0 };

	if (ops_vm_start(&app->ctx, name, &vm, err) < 0)
		return -1;
	answer(app, &vm, "started", out_doc);
	return 0;
}

int cmd_vm_start(App *app, const Args *args, Error **err)
{
	return for_chosen(app, args,
			  VM_MASK(VM_CREATED) | VM_MASK(VM_STOPPED) | VM_MASK(VM_SUSPENDED),
			  "start", start_one, err);
}

static StopOptions stop_options(const ManyArgs *opt)
{
	return (StopOptions){ .force = opt->force,
			      .timeout_ms = opt->timeout_s > 0 ? opt->timeout_s * MS_PER_S : 0 };
}

static int stop_one(App *app, const char *name, const void *arg, json_t **out_doc, Error **err)
{
	StopOptions options = stop_options(arg);
	auto_vm Vm vm = { 0 };

	if (ops_vm_stop(&app->ctx, name, &options, &vm, err) < 0)
		return -1;
	answer(app, &vm, "stopped", out_doc);
	return 0;
}

int cmd_vm_stop(App *app, const Args *args, Error **err)
{
	return for_chosen(app, args,
			  VM_MASK(VM_STARTING) | VM_MASK(VM_RUNNING) | VM_MASK(VM_PAUSED), "stop",
			  stop_one, err);
}

static int restart_one(App *app, const char *name, const void *arg, json_t **out_doc, Error **err)
{
	StopOptions options = stop_options(arg);
	auto_vm Vm vm = { 0 };

	if (ops_vm_restart(&app->ctx, name, &options, &vm, err) < 0)
		return -1;
	answer(app, &vm, "restarted", out_doc);
	return 0;
}

int cmd_vm_restart(App *app, const Args *args, Error **err)
{
	return each_name(app, args->words, args->count, false, restart_one, args->options, err);
}

static int delete_one(App *app, const char *name, const void *arg, json_t **out_doc, Error **err)
{
	const ManyArgs *opt = arg;
	size_t snapshots;

	if (ops_vm_delete(&app->ctx, name, opt->force, &snapshots, err) < 0)
		return -1;
	if (app->out.is_json)
		*out_doc = json_pack("{s:s, s:s, s:I}", "vm", name, "status", "deleted",
				     "snapshots", (json_int_t)snapshots);
	else if (snapshots)
		output_message(&app->out, "VM '%s' deleted, and its %zu snapshot%s.", name,
			       snapshots, snapshots == 1 ? "" : "s");
	else
		output_message(&app->out, "VM '%s' deleted.", name);
	return 0;
}

int cmd_vm_delete(App *app, const Args *args, Error **err)
{
	return for_chosen(app, args, ~0U, "delete", delete_one, err);
}
