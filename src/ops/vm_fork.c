#include <string.h>

#include "model/size.h"
#include "model/snapshot.h"
#include "model/uuid.h"
#include "ops/disk.h"
#include "ops/kernel.h"
#include "ops/reconcile.h"
#include "ops/vm.h"
#include "ops/vm_build.h"
#include "ops/vm_check.h"
#include "ops/vm_resize.h"
#include "state/records.h"
#include "state/snapshots.h"
#include "util/mem.h"

/* What a fork is made from: a VM, or a snapshot of it. */
typedef struct Source {
	Vm vm;
	Snapshot snapshot; /* of VM@SNAP; else empty */
	const char *volume;
	uint64_t disk_size_mib;
} Source;

static void source_release(Source *source)
{
	vm_release(&source->vm);
	snapshot_release(&source->snapshot);
	*source = (Source){ 0 };
}
#define auto_source CLEANUP(source_release)

/* The child is the source's description with a new identity and no history of its own. */
static void describe(const Source *from, const char *name, const VmChanges *changes, Vm *vm)
{
	const Vm *source = &from->vm;

	vm->name = xstrdup(name);
	vm->id = uuid_new();
	vm->image = xstrdup_null(source->image);
	vm->image_id = xstrdup_null(source->image_id);
	vm->cpus = changes->cpus ? changes->cpus : source->cpus;
	vm->memory_mib = changes->memory_mib ? changes->memory_mib : source->memory_mib;
	vm->disk_size_mib = changes->disk_size_mib ? changes->disk_size_mib : from->disk_size_mib;
	vm->network_mode = xstrdup_null(changes->network ? changes->network : source->network_mode);
	vm_wish_hypervisor(vm, source->hypervisor_wish);
	vm->boot_args = xstrdup_null(source->boot_args);
	vm->created_at = time_text_now();
	vm->parent_vm = xstrdup(source->name);
	vm->parent_id = xstrdup(source->id);
	vm->parent_snapshot = xstrdup_null(from->snapshot.name);
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

static int check_grows(const Source *source, const char *text, const VmChanges *changes,
		       Error **err)
{
	auto_free char *wish = size_text(changes->disk_size_mib * MIB);
	auto_free char *have = size_text(source->disk_size_mib * MIB);

	if (!changes->disk_size_mib || changes->disk_size_mib >= source->disk_size_mib)
		return 0;
	error_set(err, ERR_USAGE, "cannot shrink the disk: %s asked for, but %s '%s' has %s", wish,
		  source->snapshot.name ? "snapshot" : "vm", text, have);
	return error_hint(err, "leave --disk-size out, or ask for more");
}

/* Opens the source's disk, so its lock is held. */
static int check_room(Context *ctx, const Source *source, const char *text,
		      const VmChanges *changes, Error **err)
{
	auto_free char *command = xasprintf("ember vm fork %s NEW", text);

	if (!changes->disk_size_mib)
		return 0;
	return disk_check_growth(ctx, source->volume, source->disk_size_mib, changes->disk_size_mib,
				 command, err);
}

/* `vm_name` and `snapshot_name` (NULL: none) are the parts of `text`. Nobody writes to a snapshot, so what its VM does is
 * its own business. */
static int read_source(Context *ctx, const char *text, const char *vm_name,
		       const char *snapshot_name, const VmChanges *changes, Source *out_source,
		       Error **err)
{
	auto_source Source source = { 0 };

	if (records_read_vm(&ctx->store, vm_name, &source.vm, err) < 0 ||
	    vm_look_at_disk(ctx, &source.vm, err) < 0)
		return -1;
	source.volume = source.vm.volume;
	source.disk_size_mib = source.vm.disk_size_mib;
	ops_vm_observe(&source.vm);
	if (snapshot_name) {
		if (snapshots_read(&ctx->store, &source.vm, snapshot_name, &source.snapshot, err) <
		    0)
			return -1;
		source.volume = source.snapshot.id;
		source.disk_size_mib = source.snapshot.disk_size_mib;
	} else if (vm_require_state(&source.vm, "created or stopped",
				    VM_MASK(VM_CREATED) | VM_MASK(VM_STOPPED), err) < 0) {
		return -1;
	}
	if (check_grows(&source, text, changes, err) < 0)
		return -1;
	*out_source = source;
	source = (Source){ 0 };
	return 0;
}

static int check_other_name(const char *source_name, const char *name, Error **err)
{
	if (strcmp(source_name, name) != 0)
		return 0;
	error_set(err, ERR_EXISTS, "vm '%s' already exists: it is the source", name);
	return error_hint(err, "give the fork another name: ember vm fork %s %s-2", name, name);
}

int ops_vm_fork(Context *ctx, const char *source_text, const char *name, const VmChanges *changes,
		Vm *out_vm, Error **err)
{
	auto_free char *vm_name = NULL;
	auto_free char *snapshot_name = NULL;
	auto_source Source source = { 0 };
	auto_vm Vm vm = { 0 };
	auto_fd source_lock = -1;
	auto_fd lock = -1;
	auto_fd kernel_lock = -1;

	if (name_check("vm", name, err) < 0 || vm_check_shape(changes, err) < 0 ||
	    snapshot_split(source_text, &vm_name, &snapshot_name, err) < 0 ||
	    change_begin(ctx, err) < 0 ||
	    (changes->kernel && ops_kernel_check(ctx, changes->kernel, err) < 0) ||
	    check_other_name(vm_name, name, err) < 0)
		return -1;
	/* The source's record is read once before its lock file is made, so that a mistyped name leaves none behind. */
	if (read_source(ctx, source_text, vm_name, snapshot_name, changes, &source, err) < 0)
		return -1;
	if (store_lock_source(&ctx->store, "vm", vm_name, &source_lock, err) < 0 ||
	    store_lock_op(&ctx->store, "vm", name, &lock, err) < 0)
		return -1;
	source_release(&source);
	if (read_source(ctx, source_text, vm_name, snapshot_name, changes, &source, err) < 0 ||
	    check_room(ctx, &source, source_text, changes, err) < 0 ||
	    vm_build_check_free(ctx, name, err) < 0 ||
	    (changes->kernel && kernel_hold(ctx, changes->kernel, &kernel_lock, err) < 0))
		return -1;
	describe(&source, name, changes, &vm);
	if (kernel_wish_for(&vm, changes->kernel ? changes->kernel : source.vm.kernel, err) < 0)
		return -1;
	if (vm_build(ctx, &vm, source.volume, err) < 0)
		return error_wrap(err, "fork vm '%s' as '%s'", source_text, name);
	*out_vm = vm;
	vm = (Vm){ 0 };
	return 0;
}
