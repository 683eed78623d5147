/*
 * Starting and stopping.
 */
#include <string.h>

#include "agent/client.h"
#include "backend/registry.h"
#include "model/size.h"
#include "ops/disk.h"
#include "ops/guest.h"
#include "ops/kernel.h"
#include "ops/optimize.h"
#include "ops/reconcile.h"
#include "ops/vm.h"
#include "ops/vm_check.h"
#include "ops/vm_process.h"
#include "state/launch.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

#define STOP_DEFAULT_MS 20000
/* After the ladder's last rung, SIGKILL, the kernel still has to tear the process down. */
#define GONE_GRACE_MS 10000
#define CONSOLE_TAIL  1500
#define CONSOLE_MAX   (64U << 20)

static const HypervisorBackend *choose_hypervisor(Context *ctx, const Vm *vm, Error **err)
{
	const char *wish = vm->hypervisor_wish ? vm->hypervisor_wish : ctx->config.hypervisor;
	auto_free char *reason = NULL;

	if (wish && strcmp(wish, "auto") != 0)
		return hypervisor_backend_find(wish, err);
	return hypervisor_backend_choose(&reason, err);
}

static const NetworkBackend *choose_network(Context *ctx, const Vm *vm, Error **err)
{
	const char *wish = vm->network_mode ? vm->network_mode : ctx->config.network;
	auto_free char *reason = NULL;

	if (wish && strcmp(wish, "auto") != 0)
		return network_backend_find(wish, err);
	return network_backend_choose(&reason, err);
}

/* Everything that can be refused or prepared before the first process exists; ends with launch.json written. */
static int prepare(Context *ctx, Vm *vm, const Kernel *kernel, LaunchPlan *plan, Error **err)
{
	const HypervisorBackend *hypervisor = choose_hypervisor(ctx, vm, err);
	const NetworkBackend *network = hypervisor ? choose_network(ctx, vm, err) : NULL;
	auto_network_plan NetworkPlan connection = { 0 };
	auto_storage_disk StorageDisk disk = { 0 };
	auto_free char *run_dir = NULL;
	auto_free char *vm_dir = store_vm_dir(&ctx->store, vm->name);
	auto_free char *plan_path = store_vm_file(&ctx->store, vm->name, "launch.json");

	if (!network || disk_finish_growth(ctx, vm, err) < 0 ||
	    context_attach_disk(ctx, vm->volume, &disk, err) < 0 ||
	    store_make_run_dir(&ctx->store, vm->id, &run_dir, err) < 0 ||
	    failpoint("vm.start.network", err) < 0)
		return -1;
	if (network->attach(vm, &connection, err) < 0)
		return error_wrap(err, "attach network");
	LaunchRequest request = {
		.vm = vm,
		.kernel = kernel,
		.network = &connection,
		.disk = &disk,
		.instance_id = ctx->config.instance_id,
		.state_dir = ctx->store.dir,
		.vm_dir = vm_dir,
		.run_dir = run_dir,
		.cache_dir = ctx->store.run_dir,
	};

	if (hypervisor->plan(&request, plan, err) < 0 || failpoint("vm.start.plan", err) < 0)
		return -1;
	vm_network_release(&vm->network);
	vm->network = connection.record;
	connection.record = (VmNetwork){ 0 };
	return launch_plan_write(plan_path, plan, err);
}

/* The record says `starting` before the process exists and `running` after it has answered. */
static int launch(Context *ctx, Vm *vm, const LaunchPlan *plan, Error **err)
{
	auto_free char *dir = store_vm_dir(&ctx->store, vm->name);
	auto_free char *console = path_join(dir, "console.log");
	auto_free char *report = path_join(dir, "exit.json");
	KeeperIds ids = { 0 };

	if (fs_remove(console, err) < 0 || fs_remove(report, err) < 0)
		return -1;
	vm_set_state(vm, VM_STARTING);
	if (records_write_vm_at(dir, vm, false, err) < 0 || failpoint("vm.start.keeper", err) < 0 ||
	    vm_process_start(ctx, vm->name, &ids, err) < 0)
		return -1;
	vm->process = ids.hypervisor;
	vm->keeper = ids.keeper;
	str_assign(&vm->hypervisor, plan->hypervisor);
	str_assign(&vm->accelerator, plan->accelerator);
	free(vm->started_at);
	vm->started_at = time_text_now();
	vm_set_state(vm, VM_RUNNING);
	if (failpoint("vm.start.record", err) < 0)
		return -1;
	return records_write_vm(&ctx->store, vm, err);
}

/* Bring down whatever a failed start left, and say so in the record. */
static void undo_start(Context *ctx, const char *name)
{
	auto_vm Vm vm = { 0 };
	auto_error undo = NULL;

	if (records_read_vm(&ctx->store, name, &vm, &undo) < 0 ||
	    vm_process_kill(ctx, &vm, &undo) < 0 || reconcile_vm(ctx, &vm, &undo) < 0)
		report_warning_error(ctx, &undo,
				     "undo the start of vm '%s' (ember reconcile will finish it)",
				     name);
}

static int require_startable(const Vm *vm, Error **err)
{
	if (!vm_state_is_live(vm->state))
		return vm_require_state(vm, "created, stopped or suspended",
					VM_MASK(VM_CREATED) | VM_MASK(VM_STOPPED), err);
	error_set(err, ERR_STATE, "vm '%s' is %s, expected created, stopped or suspended", vm->name,
		  vm_state_name(vm->state));
	return error_hint(err, "use it as it is, or boot it again: ember vm restart %s", vm->name);
}

static int require_stoppable(const Vm *vm, Error **err)
{
	if (vm->state == VM_RUNNING || vm->state == VM_PAUSED)
		return 0;
	error_set(err, ERR_STATE, "vm '%s' is %s, expected running or paused", vm->name,
		  vm_state_name(vm->state));
	return error_hint(err, "see which run: ember vm list --status running");
}

/* The caller holds the operation lock. */
static int start_locked(Context *ctx, const char *name, Vm *out_vm, Error **err)
{
	auto_vm Vm vm = { 0 };
	CLEANUP(kernel_release) Kernel kernel = { 0 };
	auto_launch_plan LaunchPlan plan = { 0 };

	if (records_read_vm(&ctx->store, name, &vm, err) < 0 || reconcile_vm(ctx, &vm, err) < 0 ||
	    require_startable(&vm, err) < 0)
		return -1;
	if (ops_kernel_resolve(ctx, vm.kernel, &kernel, err) < 0)
		return error_wrap(err, "find a kernel");
	str_assign(&vm.kernel_path, kernel.path);
	report_step(ctx, "start vm '%s'", name);
	if (prepare(ctx, &vm, &kernel, &plan, err) < 0 || launch(ctx, &vm, &plan, err) < 0) {
		undo_start(ctx, name);
		return -1;
	}
	report_done(ctx);
	*out_vm = vm;
	vm = (Vm){ 0 };
	return 0;
}

static int lock_existing(Context *ctx, const char *name, int *out_lock, Error **err)
{
	auto_vm Vm vm = { 0 };

	/* Looked at first, so that a mistyped name leaves no lock file. */
	if (change_begin(ctx, err) < 0 || records_read_vm(&ctx->store, name, &vm, err) < 0)
		return -1;
	return store_lock_op(&ctx->store, "vm", name, out_lock, err);
}

int ops_vm_start(Context *ctx, const char *name, Vm *out_vm, Error **err)
{
	auto_fd lock = -1;

	if (lock_existing(ctx, name, &lock, err) < 0)
		return -1;
	if (start_locked(ctx, name, out_vm, err) < 0)
		return error_wrap(err, "start vm '%s'", name);
	return 0;
}

/* Ask, and force it in the end: either way the process is gone when this returns 0. */
static int bring_down(Context *ctx, Vm *vm, const StopOptions *options, Error **err)
{
	int64_t timeout_ms = options->timeout_ms ? options->timeout_ms : STOP_DEFAULT_MS;
	auto_client client = NULL;
	int gone;

	if (failpoint("vm.stop.ask", err) < 0)
		return -1;
	if (options->force)
		return vm_process_kill(ctx, vm, err);
	if (vm_process_connect(ctx, vm, &client, err) < 0 ||
	    client_stop(client, (uint32_t)timeout_ms, /* out_reason= */ NULL, err) < 0)
		return -1;
	gone = proc_wait_gone(&vm->process, deadline_in_ms(GONE_GRACE_MS), err);
	if (gone > 0)
		return 0;
	if (gone == 0) {
		error_set(err, ERR_TIMEOUT, "the hypervisor (process %d) does not end",
			  (int)vm->process.pid);
		error_hint(err, "force it: ember vm stop --force %s", vm->name);
	}
	return -1;
}

static int stop_locked(Context *ctx, const char *name, const StopOptions *options, Vm *out_vm,
		       Error **err)
{
	auto_vm Vm vm = { 0 };

	if (records_read_vm(&ctx->store, name, &vm, err) < 0 || reconcile_vm(ctx, &vm, err) < 0 ||
	    require_stoppable(&vm, err) < 0)
		return -1;
	report_step(ctx, "stop vm '%s'", name);
	if (bring_down(ctx, &vm, options, err) < 0 || failpoint("vm.stop.settle", err) < 0)
		return -1;
	vm_process_wait_keeper(&vm);
	if (reconcile_vm(ctx, &vm, err) < 0)
		return -1;
	report_done(ctx);
	*out_vm = vm;
	vm = (Vm){ 0 };
	return 0;
}

int ops_vm_stop(Context *ctx, const char *name, const StopOptions *options, Vm *out_vm, Error **err)
{
	auto_fd lock = -1;

	if (lock_existing(ctx, name, &lock, err) < 0)
		return -1;
	if (stop_locked(ctx, name, options, out_vm, err) < 0)
		return error_wrap(err, "stop vm '%s'", name);
	optimize_in_background(ctx, out_vm);
	return 0;
}

int ops_vm_restart(Context *ctx, const char *name, const StopOptions *options, Vm *out_vm,
		   Error **err)
{
	auto_vm Vm stopped = { 0 };
	auto_fd lock = -1;

	if (lock_existing(ctx, name, &lock, err) < 0)
		return -1;
	if (stop_locked(ctx, name, options, &stopped, err) < 0 ||
	    start_locked(ctx, name, out_vm, err) < 0)
		return error_wrap(err, "restart vm '%s'", name);
	return 0;
}

static int tail_of_console(Context *ctx, const char *name, Error **err)
{
	auto_free char *path = store_vm_file(&ctx->store, name, "console.log");
	auto_free char *text = NULL;
	size_t len = 0;

	if (fs_read(path, CONSOLE_MAX, &text, &len, NULL) < 0)
		return -1;
	return error_detail(err, text + (len > CONSOLE_TAIL ? len - CONSOLE_TAIL : 0));
}

static int wait_stopped(Context *ctx, const char *name, int64_t timeout_ms, Vm *vm, Error **err)
{
	int gone;

	if (!vm_state_is_live(vm->state))
		return 0;
	gone = proc_wait_gone(&vm->process, deadline_in_ms(timeout_ms), err);
	if (gone < 0)
		return -1;
	if (gone > 0) {
		vm_process_wait_keeper(vm);
		vm_release(vm);
		return ops_vm_inspect(ctx, name, vm, err);
	}
	error_set(err, ERR_TIMEOUT, "vm '%s' is still %s", name, vm_state_name(vm->state));
	return error_hint(err, "stop it: ember vm stop %s", name);
}

/* A start that is under way holds the operation lock; one that died left `starting` behind. */
static int wait_started(Context *ctx, const char *name, Deadline until, Vm *vm, Error **err)
{
	auto_fd lock = -1;
	int got;

	if (vm->state != VM_STARTING)
		return 0;
	got = store_lock(&ctx->store, "vm", name, LOCK_SHARED, until, &lock, err);
	if (got < 0)
		return -1;
	vm_release(vm);
	if (ops_vm_inspect(ctx, name, vm, err) < 0)
		return -1;
	if (!got) {
		error_set(err, ERR_TIMEOUT, "vm '%s' is still starting", name);
		return error_hint(err, "see what it does: ember vm logs %s", name);
	}
	if (vm->state != VM_STARTING)
		return 0;
	error_set(err, ERR_STATE, "the start of vm '%s' was cut off", name);
	return error_hint(err, "undo it: ember reconcile");
}

int ops_vm_wait(Context *ctx, const char *name, WaitFor what, int64_t timeout_ms, Vm *out_vm,
		Error **err)
{
	auto_vm Vm vm = { 0 };

	if (context_load(ctx, err) < 0 || ops_vm_inspect(ctx, name, &vm, err) < 0 ||
	    wait_started(ctx, name, deadline_in_ms(timeout_ms), &vm, err) < 0)
		return -1;
	if (what == WAIT_STOPPED) {
		report_step(ctx, "wait for vm '%s' to stop", name);
		if (wait_stopped(ctx, name, timeout_ms, &vm, err) < 0)
			return -1;
		report_done(ctx);
	} else if (vm_require_state(&vm, "running", VM_MASK(VM_RUNNING), err) < 0) {
		return -1;
	} else if (ops_guest_wait_ready(ctx, &vm, timeout_ms, err) < 0) {
		return tail_of_console(ctx, name, err);
	}
	*out_vm = vm;
	vm = (Vm){ 0 };
	return 0;
}
