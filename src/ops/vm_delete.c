#include "ops/reconcile.h"
#include "ops/vm.h"
#include "ops/vm_build.h"
#include "ops/vm_process.h"
#include "state/records.h"
#include "state/snapshots.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* Of a VM whose record cannot be read, the launch plan may still tell the id: enough to find its process and disk. */
static int stop_broken(Context *ctx, Vm *vm, Error **err)
{
	auto_free char *dir = store_vm_dir(&ctx->store, vm->name);

	vm->id = records_read_id_at(dir);
	if (vm->id)
		return vm_process_kill(ctx, vm, err);
	report_warning(ctx,
		       "the record of vm '%s' does not tell its disk: ember reconcile removes it",
		       vm->name);
	return 0;
}

static int delete_broken(Context *ctx, const char *name, bool force, Error **cause, Error **err)
{
	auto_vm Vm vm = { .name = xstrdup(name), .state = VM_BROKEN };

	if (!force) {
		error_move(err, cause);
		return -1;
	}
	if (stop_broken(ctx, &vm, err) < 0)
		return -1;
	return vm_destroy(ctx, &vm, err);
}

/* Its process and its network, and nothing written: a disk that is full must not keep a VM that fills it. */
static int take_down(Context *ctx, const Vm *vm, Error **err)
{
	auto_error trouble = NULL;

	if (failpoint("vm.delete.stop", err) < 0 || vm_process_kill(ctx, vm, err) < 0)
		return -1;
	if (vm_detach_network(vm, &trouble) < 0)
		report_warning_error(ctx, &trouble, "take down the network of vm '%s'", vm->name);
	return 0;
}

static int delete_locked(Context *ctx, const char *name, bool force, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_error cause = NULL;

	if (records_read_vm(&ctx->store, name, &vm, &cause) < 0) {
		if (error_code(cause) == ERR_FAILED)
			return delete_broken(ctx, name, force, &cause, err);
		error_move(err, &cause);
		return -1;
	}
	if (vm_state_is_live(vm.state) && !force && reconcile_vm(ctx, &vm, err) < 0)
		return -1;
	if (vm_state_is_live(vm.state) && !force) {
		error_set(err, ERR_STATE, "vm '%s' is %s", name, vm_state_name(vm.state));
		return error_hint(
			err, "stop it first, or delete it all the same: ember vm delete --force %s",
			name);
	}
	if (vm_state_is_live(vm.state) && take_down(ctx, &vm, err) < 0)
		return -1;
	return vm_destroy(ctx, &vm, err);
}

int ops_vm_delete(Context *ctx, const char *name, bool force, size_t *out_snapshots, Error **err)
{
	auto_free char *dir = NULL;
	auto_free char *snapshots_at = NULL;
	auto_strv Strv snapshots = { 0 };
	auto_vm Vm vm = { 0 };
	auto_fd lock = -1;

	if (change_begin(ctx, err) < 0 || name_check("vm", name, err) < 0)
		return -1;
	dir = store_vm_dir(&ctx->store, name);
	if (!fs_exists(dir))
		return records_read_vm(&ctx->store, name, &vm, err); /* says that there is none */
	if (store_lock_op(&ctx->store, "vm", name, &lock, err) < 0)
		return -1;
	snapshots_at = snapshots_dir(&ctx->store, name);
	if (fs_list(snapshots_at, &snapshots, err) < 0 || delete_locked(ctx, name, force, err) < 0)
		return -1;
	if (out_snapshots)
		*out_snapshots = snapshots.count;
	return 0;
}
