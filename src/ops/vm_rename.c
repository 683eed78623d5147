/*
 * Another name for a VM: its directory is renamed, and all that is in it follows. Volume, processes, address and identity
 * are known by the id, which stays.
 */
#include <string.h>

#include "ops/reconcile.h"
#include "ops/vm.h"
#include "ops/vm_build.h"
#include "ops/vm_process.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* Settled, and with nobody left who would write to a directory of the old name. */
static int read_resting(Context *ctx, const char *name, Vm *vm, Error **err)
{
	if (records_read_vm(&ctx->store, name, vm, err) < 0)
		return -1;
	if (vm_state_is_live(vm->state) && !proc_is_alive(&vm->process))
		vm_process_wait_keeper(vm);
	if (reconcile_vm(ctx, vm, err) < 0)
		return -1;
	return vm_require_state(vm, "created or stopped", VM_MASK(VM_CREATED) | VM_MASK(VM_STOPPED),
				err);
}

static int refuse_same(const char *name, const char *new_name, Error **err)
{
	if (strcmp(name, new_name) != 0)
		return 0;
	error_set(err, ERR_EXISTS, "vm '%s' has that name already", name);
	return error_hint(err, "name another one: ember vm rename %s NEW", name);
}

/* A record speaks only for the directory that it names. So it names both before the rename, which is the commit: whether
 * that happens or not, it is right. */
static int rename_dir(Context *ctx, Vm *vm, const char *new_name, Error **err)
{
	auto_free char *from = store_vm_dir(&ctx->store, vm->name);
	auto_free char *to = store_vm_dir(&ctx->store, new_name);
	auto_free char *vms = store_path(&ctx->store, "vms");

	vm->former_name = vm->name;
	vm->name = xstrdup(new_name);
	if (failpoint("vm.rename.record", err) < 0 ||
	    records_write_vm_at(from, vm, true, err) < 0 ||
	    failpoint("vm.rename.commit", err) < 0 || fs_rename_new(from, to, err) < 0)
		return -1;
	str_assign(&vm->former_name, NULL);
	(void)change_end(ctx, vms);
	return 0;
}

/* What only matters when the record is lost, and is written anew at each start. */
static void rename_plan(Context *ctx, const Vm *vm)
{
	auto_error trouble = NULL;

	if (failpoint("vm.rename.plan", &trouble) < 0 || vm_process_rename(ctx, vm, &trouble) < 0)
		report_warning_error(ctx, &trouble, "rename the launch plan of vm '%s'", vm->name);
}

int ops_vm_rename(Context *ctx, const char *name, const char *new_name, Vm *out_vm, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_fd first_lock = -1;
	auto_fd second_lock = -1;

	if (name_check("vm", name, err) < 0 || name_check("vm", new_name, err) < 0 ||
	    change_begin(ctx, err) < 0)
		return -1;
	/* Looked at first, so that a mistyped name leaves no lock file. */
	if (records_read_vm(&ctx->store, name, &vm, err) < 0)
		return -1;
	vm_release(&vm);
	if (refuse_same(name, new_name, err) < 0 ||
	    store_lock_pair(&ctx->store, "vm", name, new_name, &first_lock, &second_lock, err) <
		    0 ||
	    vm_build_check_free(ctx, new_name, err) < 0 || read_resting(ctx, name, &vm, err) < 0)
		return -1;
	if (rename_dir(ctx, &vm, new_name, err) < 0)
		return error_wrap(err, "rename vm '%s'", name);
	rename_plan(ctx, &vm);
	*out_vm = vm;
	vm = (Vm){ 0 };
	return 0;
}
