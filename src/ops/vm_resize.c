/*
 * A larger disk for a VM: volume, hypervisor, guest, in that order, so that nobody ever believes in bytes that are not
 * there. The record has the intent first and the result last. Nothing is undone after the volume has grown, since no
 * disk can shrink: what was cut off goes forward.
 */
#include "ops/vm_resize.h"

#include <unistd.h>

#include "model/size.h"
#include "ops/disk.h"
#include "ops/reconcile.h"
#include "ops/vm.h"
#include "ops/vm_check.h"
#include "ops/vm_process.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/mem.h"

#define HYPERVISOR_MS 10000
#define GUEST_MS      60000 /* a terabyte more takes a while without KVM */
/* The guest's driver hears of the new size when its processor comes to it. */
#define GUEST_LOOK_US 20000
/* As long as that without any more: it is all that the guest makes of it. */
#define GUEST_SETTLED_MS 2000

int vm_look_at_disk(Context *ctx, Vm *vm, Error **err)
{
	uint64_t bytes;

	if (!vm->disk_resize_mib)
		return 0;
	if (context_open_storage(ctx, err) < 0 ||
	    ctx->storage->size(ctx->pool, vm->volume, &bytes, err) < 0)
		return -1;
	vm->disk_size_mib = bytes / MIB;
	vm->disk_resize_mib = 0;
	return 0;
}

/* One whose keeper or hypervisor cannot do it is refused before anything changes. */
static int require_online_resize(const Vm *vm, const VmStatus *status, Error **err)
{
	if (status->can_resize_disk)
		return 0;
	error_set(err, ERR_UNSUPPORTED, "the disk cannot grow while the vm runs");
	return error_hint(err, "stop it first: ember vm stop %s", vm->name);
}

static int tell_hypervisor(Context *ctx, const Vm *vm, uint64_t size_mib, Error **err)
{
	Deadline until = deadline_in_ms(HYPERVISOR_MS);
	auto_client client = NULL;

	if (failpoint("vm.resize.hypervisor", err) < 0 ||
	    vm_process_connect(ctx, vm, &client, err) < 0 ||
	    client_disk_resize(client, size_mib * MIB, until, err) < 0)
		return -1;
	return 0;
}

int vm_settle_disk(Context *ctx, Vm *vm, Error **err)
{
	uint64_t before = vm->disk_size_mib;

	if (!vm->disk_resize_mib)
		return 0;
	if (vm_look_at_disk(ctx, vm, err) < 0)
		return error_wrap(err, "settle the disk of vm '%s'", vm->name);
	if (vm_state_is_live(vm->state) && vm->disk_size_mib > before &&
	    tell_hypervisor(ctx, vm, vm->disk_size_mib, err) < 0)
		return error_wrap(err, "settle the disk of vm '%s'", vm->name);
	if (failpoint("vm.resize.settle", err) < 0)
		return -1;
	return records_write_vm(&ctx->store, vm, err);
}

static int check_larger(const Vm *vm, uint64_t size_mib, Error **err)
{
	auto_free char *have = size_text(vm->disk_size_mib * MIB);
	auto_free char *wish = size_text(size_mib * MIB);
	auto_free char *more = NULL;
	uint64_t twice;

	if (size_mib > vm->disk_size_mib)
		return 0;
	if (size_mib == vm->disk_size_mib)
		error_set(err, ERR_USAGE, "the disk has %s: the new size must be larger", have);
	else
		error_set(err, ERR_USAGE,
			  "cannot shrink the disk from %s to %s: the new size must be larger", have,
			  wish);
	if (vm->disk_size_mib >= VM_DISK_MAX_MIB)
		return error_hint(err,
				  "there is no larger disk; what the vm has: ember vm inspect %s",
				  vm->name);
	twice = vm->disk_size_mib * 2;
	more = size_typed((twice < VM_DISK_MAX_MIB ? twice : VM_DISK_MAX_MIB) * MIB);
	return error_hint(err, "ask for more: ember vm resize %s --disk-size %s", vm->name, more);
}

static int check_room(Context *ctx, const Vm *vm, uint64_t size_mib, Error **err)
{
	auto_free char *command = xasprintf("ember vm resize %s", vm->name);

	return disk_check_growth(ctx, vm->volume, vm->disk_size_mib, size_mib, command, err);
}

/* As before, as far as the world goes: the volume had not grown when it failed, or it tells how far it came. */
static void undo(Context *ctx, Vm *vm)
{
	auto_error trouble = NULL;

	if (vm_settle_disk(ctx, vm, &trouble) < 0)
		report_warning_error(ctx, &trouble,
				     "undo the resize of vm '%s' (ember reconcile will finish it)",
				     vm->name);
}

static int grow_volume(Context *ctx, const Vm *vm, Error **err)
{
	if (context_open_storage(ctx, err) < 0 || failpoint("vm.resize.volume", err) < 0)
		return -1;
	return ctx->storage->resize(ctx->pool, vm->volume, vm->disk_resize_mib * MIB,
				    vm_state_is_live(vm->state), err);
}

static int grow(Context *ctx, Vm *vm, uint64_t size_mib, Error **err)
{
	vm->disk_resize_mib = size_mib;
	if (failpoint("vm.resize.intent", err) < 0 || records_write_vm(&ctx->store, vm, err) < 0)
		return -1;
	if (grow_volume(ctx, vm, err) < 0) {
		undo(ctx, vm);
		return -1;
	}
	if (vm_state_is_live(vm->state) && tell_hypervisor(ctx, vm, size_mib, err) < 0)
		return error_hint(err, "the guest has it after its next boot: ember vm restart %s",
				  vm->name);
	vm->disk_size_mib = size_mib;
	vm->disk_resize_mib = 0;
	if (failpoint("vm.resize.record", err) < 0)
		return -1;
	return records_write_vm(&ctx->store, vm, err);
}

static void say_short(const char *name, uint64_t bytes, uint64_t size_mib, Error **err)
{
	auto_free char *have = size_text(bytes), *wish = size_text(size_mib * MIB);

	error_set(err, ERR_FAILED, "the guest of vm '%s' reports a filesystem of %s on %s of disk",
		  name, have, wish);
}

/* Ask until the guest has seen all of it. 1 grown, 0 not all of it (why is in *err), -1. */
static int ask_guest(Client *client, const Vm *vm, Error **err)
{
	Deadline until = deadline_in_ms(GUEST_MS), settled = deadline_in_ms(GUEST_SETTLED_MS);
	uint64_t bytes = 0, before = 0;

	while (!deadline_passed(until) && !deadline_passed(settled)) {
		if (client_resize_fs(client, until, &bytes, err) < 0)
			return -1;
		if (bytes / MIB >= vm->disk_size_mib)
			return 1;
		if (bytes != before)
			settled = deadline_in_ms(GUEST_SETTLED_MS);
		before = bytes;
		(void)usleep(GUEST_LOOK_US);
	}
	say_short(vm->name, bytes, vm->disk_size_mib, err);
	return 0;
}

/* What fails here fails none of the resize: the guest looks again by itself. */
static ResizeEnd tell_guest(Context *ctx, const Vm *vm)
{
	auto_client client = NULL;
	auto_vm_status VmStatus status = { 0 };
	auto_error trouble = NULL;
	int grown;

	if (!vm_state_is_live(vm->state))
		return RESIZE_AT_BOOT;
	if (failpoint("vm.resize.guest", &trouble) < 0 ||
	    vm_process_connect(ctx, vm, &client, &trouble) < 0 ||
	    client_status(client, deadline_in_ms(GUEST_MS), &status, &trouble) < 0) {
		report_warning_error(ctx, &trouble, "reach the guest of vm '%s'", vm->name);
		return RESIZE_NO_AGENT;
	}
	if (str_equal(status.state, "paused"))
		return RESIZE_AT_RESUME;
	if (!status.agent_ready)
		return RESIZE_NO_AGENT;
	grown = ask_guest(client, vm, &trouble);
	if (grown <= 0)
		report_warning_error(ctx, &trouble, "grow the filesystem of vm '%s'", vm->name);
	if (grown < 0)
		return RESIZE_NO_AGENT;
	return grown ? RESIZE_GROWN : RESIZE_IN_PART;
}

static int require_resizable(Context *ctx, const Vm *vm, Error **err)
{
	auto_client client = NULL;
	auto_vm_status VmStatus status = { 0 };

	if (vm_require_state(vm, "created, stopped, running or paused",
			     VM_MASK(VM_CREATED) | VM_MASK(VM_STOPPED) | VM_MASK(VM_RUNNING) |
				     VM_MASK(VM_PAUSED),
			     err) < 0)
		return -1;
	if (!vm_state_is_live(vm->state))
		return 0;
	if (vm_process_connect(ctx, vm, &client, err) < 0 ||
	    client_status(client, deadline_in_ms(HYPERVISOR_MS), &status, err) < 0)
		return -1;
	return require_online_resize(vm, &status, err);
}

static int resize_locked(Context *ctx, const char *name, uint64_t size_mib, Vm *vm,
			 ResizeEnd *out_end, Error **err)
{
	uint64_t cut_off;

	if (records_read_vm(&ctx->store, name, vm, err) < 0)
		return -1;
	cut_off = vm->disk_resize_mib;
	if (reconcile_vm(ctx, vm, err) < 0 || require_resizable(ctx, vm, err) < 0 ||
	    vm_settle_disk(ctx, vm, err) < 0)
		return -1;
	/* The same once more finishes what was cut off. */
	if (cut_off != size_mib || vm->disk_size_mib != size_mib) {
		if (check_larger(vm, size_mib, err) < 0 || check_room(ctx, vm, size_mib, err) < 0)
			return -1;
		report_step(ctx, "resize the disk of vm '%s'", name);
		if (grow(ctx, vm, size_mib, err) < 0)
			return -1;
	}
	*out_end = tell_guest(ctx, vm);
	report_done(ctx);
	return 0;
}

int ops_vm_resize(Context *ctx, const char *name, uint64_t disk_size_mib, Vm *out_vm,
		  ResizeEnd *out_end, Error **err)
{
	VmChanges shape = { .disk_size_mib = disk_size_mib };
	auto_vm Vm vm = { 0 };
	auto_fd lock = -1;

	if (name_check("vm", name, err) < 0 || vm_check_shape(&shape, err) < 0 ||
	    change_begin(ctx, err) < 0)
		return -1;
	/* Looked at first, so that a mistyped name leaves no lock file. */
	if (records_read_vm(&ctx->store, name, &vm, err) < 0 ||
	    store_lock_op(&ctx->store, "vm", name, &lock, err) < 0)
		return -1;
	vm_release(&vm);
	if (resize_locked(ctx, name, disk_size_mib, &vm, out_end, err) < 0)
		return error_wrap(err, "resize vm '%s'", name);
	*out_vm = vm;
	vm = (Vm){ 0 };
	return 0;
}
