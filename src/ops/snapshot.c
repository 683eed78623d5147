#include "ops/snapshot.h"

#include <errno.h>
#include <unistd.h>

#include "model/size.h"
#include "model/uuid.h"
#include "ops/leftover.h"
#include "ops/reconcile.h"
#include "ops/snapshot_lock.h"
#include "ops/vm.h"
#include "ops/vm_resize.h"
#include "state/records.h"
#include "state/snapshots.h"
#include "util/cancel.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

int ops_snapshot_list(Context *ctx, const char *vm_name, SnapshotList *out_list, Error **err)
{
	auto_vm Vm vm = { 0 };

	if (records_read_vm(&ctx->store, vm_name, &vm, err) < 0)
		return -1;
	return snapshots_list(&ctx->store, &vm, out_list, err);
}

int snapshot_lock_vm(Context *ctx, const char *name, Vm *out_vm, int *out_lock, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_fd lock = -1;

	if (change_begin(ctx, err) < 0 || records_read_vm(&ctx->store, name, &vm, err) < 0 ||
	    store_lock_op(&ctx->store, "vm", name, &lock, err) < 0)
		return -1;
	vm_release(&vm);
	if (records_read_vm(&ctx->store, name, &vm, err) < 0 || reconcile_vm(ctx, &vm, err) < 0 ||
	    vm_settle_disk(ctx, &vm, err) < 0)
		return -1;
	*out_vm = vm;
	vm = (Vm){ 0 };
	*out_lock = steal_fd(&lock);
	return 0;
}

/* `id` is NULL when its record is broken. It may be the copy of another's, whose volume it must not take along: what is in
 * trash/ under an id of its own has none. */
static int remove_snapshot(Context *ctx, const Vm *vm, const char *name, const char *id,
			   Error **err)
{
	auto_free char *all = snapshots_dir(&ctx->store, vm->name);
	auto_free char *dir = snapshot_dir(&ctx->store, vm->name, name);
	auto_free char *made_up_id = id ? NULL : uuid_new();
	auto_free char *trash = store_trash_dir(&ctx->store, "vm", vm->name, id ? id : made_up_id);

	if (failpoint("snapshot.delete.hide", err) < 0 || fs_rename_new(dir, trash, err) < 0 ||
	    (change_end(ctx, all) && leftover_destroy(ctx, trash, err) < 0))
		return -1;
	(void)rmdir(all); /* was it the last one? */
	return 0;
}

int ops_snapshot_delete(Context *ctx, const char *vm_name, const char *name, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_snapshot Snapshot snapshot = { 0 };
	auto_error cause = NULL;
	auto_fd lock = -1;

	if (snapshot_name_check(name, err) < 0 ||
	    snapshot_lock_vm(ctx, vm_name, &vm, &lock, err) < 0)
		return -1;
	/* A broken one goes too; its volume is an orphan then, for reconcile. */
	if (snapshots_read(&ctx->store, &vm, name, &snapshot, &cause) < 0 &&
	    error_code(cause) != ERR_FAILED) {
		error_move(err, &cause);
		return -1;
	}
	if (remove_snapshot(ctx, &vm, name, snapshot.id, err) < 0)
		return error_wrap(err, "delete snapshot '%s' of vm '%s'", name, vm_name);
	return 0;
}

/* The VM as it will be, in tmp/: the same record with a disk of its own. */
static int assemble(Context *ctx, Vm *vm, const Snapshot *snapshot, const char *tmp, Error **err)
{
	vm->disk_size_mib = snapshot->disk_size_mib;
	free(vm->disk_path);
	vm->disk_path = ctx->storage->path(&ctx->site, vm->volume);
	if (failpoint("snapshot.restore.intent", err) < 0 || fs_mkdir(tmp, 0700, err) < 0 ||
	    failpoint("snapshot.restore.record", err) < 0 ||
	    records_write_new_vm_at(tmp, vm, err) < 0)
		return -1;
	report_step(ctx, "clone snapshot '%s' of vm '%s'", snapshot->name, vm->name);
	if (failpoint("snapshot.restore.clone", err) < 0 ||
	    ctx->storage->clone(ctx->pool, snapshot->id, vm->volume, 0, /* live= */ NULL, err) <
		    0 ||
	    cancel_check(err) < 0)
		return -1;
	return fs_sync_path(tmp, err);
}

/* From here on the VM has that disk, and the former one lies in tmp/ as what is left of a change. As long as it is not known
 * which of the two a power cut would leave the VM, *out_lasts is false and neither may be destroyed. */
static int exchange(Context *ctx, const Vm *vm, const char *tmp, bool *out_lasts, Error **err)
{
	auto_free char *dir = store_vm_dir(&ctx->store, vm->name);
	auto_free char *ours = path_join(tmp, "vm.json");
	auto_free char *theirs = path_join(dir, "vm.json");

	if (failpoint("snapshot.restore.exchange", err) < 0)
		return -1;
	if (os_rename_exchange(ours, theirs) < 0)
		return error_set_errno(err, errno, "replace '%s' by '%s'", theirs, ours);
	*out_lasts = change_end(ctx, dir);
	return 0;
}

static int restore(Context *ctx, Vm *vm, const Snapshot *snapshot, Error **err)
{
	auto_free char *tmp = NULL;
	auto_error undo = NULL;
	bool lasts = true;
	int result;

	free(vm->volume);
	vm->volume = uuid_new();
	tmp = store_work_dir(&ctx->store, "vm", vm->name, vm->volume);
	result = assemble(ctx, vm, snapshot, tmp, err);
	if (result == 0)
		result = exchange(ctx, vm, tmp, &lasts, err);
	/* In either case one of the two disks is in the way now. */
	if (lasts && leftover_destroy(ctx, tmp, &undo) < 0)
		report_warning_error(
			ctx, &undo,
			"clean up after the restore of vm '%s' (ember reconcile will finish it)",
			vm->name);
	report_done(ctx);
	return result;
}

int ops_snapshot_restore(Context *ctx, const char *vm_name, const char *name, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_snapshot Snapshot snapshot = { 0 };
	auto_fd lock = -1;

	/* The name before the state: nobody should stop a VM only to learn that there is no such snapshot. */
	if (snapshot_name_check(name, err) < 0 ||
	    snapshot_lock_vm(ctx, vm_name, &vm, &lock, err) < 0 ||
	    snapshots_read(&ctx->store, &vm, name, &snapshot, err) < 0 ||
	    vm_require_state(&vm, "created or stopped", VM_MASK(VM_CREATED) | VM_MASK(VM_STOPPED),
			     err) < 0 ||
	    context_open_storage(ctx, err) < 0)
		return -1;
	if (restore(ctx, &vm, &snapshot, err) < 0)
		return error_wrap(err, "restore vm '%s' to snapshot '%s'", vm_name, name);
	return 0;
}
