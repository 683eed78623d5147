#include <string.h>

#include "model/size.h"
#include "model/uuid.h"
#include "ops/kernel.h"
#include "ops/reconcile.h"
#include "ops/vm.h"
#include "ops/vm_build.h"
#include "ops/vm_check.h"
#include "state/records.h"
#include "util/mem.h"

/* The child is the source's description with a new identity and no history of its own. */
static void describe(const Vm *source, const char *name, const VmChanges *changes, Vm *vm)
{
	vm->name = xstrdup(name);
	vm->id = uuid_new();
	vm->image = xstrdup_null(source->image);
	vm->image_id = xstrdup_null(source->image_id);
	vm->cpus = changes->cpus ? changes->cpus : source->cpus;
	vm->memory_mib = changes->memory_mib ? changes->memory_mib : source->memory_mib;
	vm->disk_size_mib = changes->disk_size_mib ? changes->disk_size_mib : source->disk_size_mib;
	vm->kernel = xstrdup_null(changes->kernel ? changes->kernel : source->kernel);
	vm->network_mode = xstrdup_null(changes->network ? changes->network : source->network_mode);
	vm->hypervisor = xstrdup_null(source->hypervisor);
	vm->boot_args = xstrdup_null(source->boot_args);
	vm->created_at = time_text_now();
	vm->parent_vm = xstrdup(source->name);
	vm->has_init = source->has_init;
	vm->user = xstrdup_null(source->user);
	vm->workdir = xstrdup_null(source->workdir);
	vm->ssh_user = xstrdup_null(source->ssh_user);
	vm->ssh_key = xstrdup_null(source->ssh_key);
	strv_copy(&vm->env, &source->env);
	vm->run_cmd = source->run_cmd;
	strv_copy(&vm->run_env, &source->run_env);
	strv_copy(&vm->labels, &source->labels);
}

static int read_source(Context *ctx, const char *name, const VmChanges *changes, Vm *out_source,
		       Error **err)
{
	auto_vm Vm source = { 0 };

	if (records_read_vm(&ctx->store, name, &source, err) < 0)
		return -1;
	ops_vm_observe(&source);
	if (vm_require_state(&source, "created or stopped",
			     VM_MASK(VM_CREATED) | VM_MASK(VM_STOPPED), err) < 0)
		return -1;
	if (changes->disk_size_mib && changes->disk_size_mib < source.disk_size_mib) {
		auto_free char *wish = size_text(changes->disk_size_mib * MIB);
		auto_free char *have = size_text(source.disk_size_mib * MIB);

		error_set(err, ERR_USAGE,
			  "cannot shrink the disk: %s asked for, but vm '%s' has %s", wish, name,
			  have);
		return error_hint(err, "leave --disk-size out, or ask for more");
	}
	*out_source = source;
	source = (Vm){ 0 };
	return 0;
}

int ops_vm_fork(Context *ctx, const char *source_name, const char *name, const VmChanges *changes,
		Vm *out_vm, Error **err)
{
	auto_vm Vm source = { 0 };
	auto_vm Vm vm = { 0 };
	auto_fd source_lock = -1;
	auto_fd lock = -1;
	auto_fd kernel_lock = -1;

	if (name_check("vm", name, err) < 0 || vm_check_shape(changes, err) < 0 ||
	    change_begin(ctx, err) < 0 ||
	    (changes->kernel && ops_kernel_check(ctx, changes->kernel, err) < 0))
		return -1;
	if (!strcmp(source_name, name)) {
		error_set(err, ERR_EXISTS, "vm '%s' already exists: it is the source", name);
		return error_hint(err, "give the fork another name: ember vm fork %s %s-2", name,
				  name);
	}
	/* The source's record is read once before its lock file is made, so that a mistyped name leaves none behind. */
	if (read_source(ctx, source_name, changes, &source, err) < 0)
		return -1;
	if (store_lock_source(&ctx->store, "vm", source_name, &source_lock, err) < 0 ||
	    store_lock_op(&ctx->store, "vm", name, &lock, err) < 0)
		return -1;
	vm_release(&source);
	if (read_source(ctx, source_name, changes, &source, err) < 0 ||
	    vm_build_check_free(ctx, name, err) < 0 ||
	    (changes->kernel && kernel_hold(ctx, changes->kernel, &kernel_lock, err) < 0))
		return -1;
	describe(&source, name, changes, &vm);
	if (kernel_wish_absolute(&vm.kernel, err) < 0)
		return -1;
	if (vm_build(ctx, &vm, source.id, err) < 0)
		return error_wrap(err, "fork vm '%s' as '%s'", source_name, name);
	*out_vm = vm;
	vm = (Vm){ 0 };
	return 0;
}
