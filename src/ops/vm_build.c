#include "ops/vm_build.h"

#include "model/size.h"
#include "model/uuid.h"
#include "ops/leftover.h"
#include "ops/reconcile.h"
#include "state/records.h"
#include "util/cancel.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

int vm_build_check_free(Context *ctx, const char *name, Error **err)
{
	auto_free char *dir = store_vm_dir(&ctx->store, name);
	auto_free char *tmp = store_tmp_dir(&ctx->store, "vm", name);

	if (fs_exists(dir)) {
		error_set(err, ERR_EXISTS, "vm '%s' already exists", name);
		return error_hint(err, "choose another name, or remove it: ember vm delete %s",
				  name);
	}
	return leftover_destroy(ctx, tmp, err);
}

/*
 * Fill tmp/vm:NAME/ and make it durable: all that precedes the commit.
 *
 * The record is written once, whole and first: that it lies in tmp/ is what makes it an intent. Each fsync of a file costs
 * a flush of the disk, so there are just two here, the record's and (in clone) the volume's; the directory's comes
 * after them and finds nothing left to write.
 */
static int assemble(Context *ctx, Vm *vm, const char *from_volume, const char *tmp, Error **err)
{
	if (failpoint("vm.build.intent", err) < 0 || fs_mkdir(tmp, 0700, err) < 0)
		return -1;
	vm->state = VM_CREATED;
	free(vm->disk_path);
	str_assign(&vm->volume, vm->id);
	vm->disk_path = ctx->storage->path(&ctx->site, vm->volume);
	if (failpoint("vm.build.record", err) < 0 || records_write_new_vm_at(tmp, vm, err) < 0 ||
	    failpoint("vm.build.clone", err) < 0)
		return -1;
	if (ctx->storage->clone(ctx->pool, from_volume, vm->volume, vm->disk_size_mib * MIB,
				/* live= */ NULL, err) < 0)
		return error_wrap(err, "make its disk");
	if (cancel_check(err) < 0)
		return -1;
	return fs_sync_path(tmp, err);
}

/* From here on the VM exists. */
static int commit(Context *ctx, const Vm *vm, const char *tmp, Error **err)
{
	auto_free char *dir = store_vm_dir(&ctx->store, vm->name);
	auto_free char *vms = store_path(&ctx->store, "vms");

	if (failpoint("vm.build.commit", err) < 0 || fs_rename_new(tmp, dir, err) < 0)
		return -1;
	(void)change_end(ctx, vms);
	return 0;
}

int vm_build(Context *ctx, Vm *vm, const char *from_volume, Error **err)
{
	auto_free char *tmp = store_tmp_dir(&ctx->store, "vm", vm->name);
	auto_error undo = NULL;

	if (context_open_storage(ctx, err) < 0)
		return -1;
	if (assemble(ctx, vm, from_volume, tmp, err) == 0 && commit(ctx, vm, tmp, err) == 0)
		return 0;
	if (leftover_destroy(ctx, tmp, &undo) < 0)
		report_warning_error(ctx, &undo, "undo vm '%s' (ember reconcile will finish it)",
				     vm->name);
	return -1;
}

int vm_destroy(Context *ctx, const Vm *vm, Error **err)
{
	auto_free char *dir = store_vm_dir(&ctx->store, vm->name);
	auto_free char *vms = store_path(&ctx->store, "vms");
	auto_free char *made_up_id = vm->id ? NULL : uuid_new();
	auto_free char *trash =
		store_trash_dir(&ctx->store, "vm", vm->name, vm->id ? vm->id : made_up_id);
	auto_error trouble = NULL;

	if (leftover_destroy(ctx, trash, err) < 0 || failpoint("vm.delete.hide", err) < 0 ||
	    fs_rename(dir, trash, err) < 0)
		return error_wrap(err, "delete vm '%s'", vm->name);
	if (!change_end(ctx, vms) || leftover_destroy(ctx, trash, &trouble) == 0)
		return 0;
	/* The VM is gone, and what is left of it waits in trash/ for the store. */
	if (error_code(trouble) == ERR_NOT_FOUND) {
		report_warning(
			ctx, "%s; the disk of vm '%s' is removed when it is back: ember reconcile",
			error_text(trouble), vm->name);
		return 0;
	}
	error_move(err, &trouble);
	return error_wrap(err, "clean up after vm '%s'", vm->name);
}
