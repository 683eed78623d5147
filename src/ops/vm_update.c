/*
 * Other settings for a VM: one record is replaced by another.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/image.h"
#include "ops/kernel.h"
#include "ops/reconcile.h"
#include "ops/vm.h"
#include "ops/vm_check.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

static bool is_given(const Strv *edits)
{
	return edits && edits->count > 0;
}

/* Labels say what a VM is for, not how it runs. */
static bool is_labels_only(const VmUpdate *update)
{
	return !update->cpus && !update->memory_mib && !update->kernel && !update->network &&
	       !update->hypervisor && !update->boot_args && !update->user && !update->ssh_user &&
	       !update->ssh_key && !is_given(update->env);
}

static int refuse_nothing(const char *name, const VmUpdate *update, Error **err)
{
	if (!is_labels_only(update) || is_given(update->labels))
		return 0;
	error_set(err, ERR_USAGE, "no configuration changes specified");
	return error_hint(
		err, "say what is to change, for example: ember vm update-config %s --memory 2G",
		name);
}

/* NULL for what is to be the default again: there is nothing to check about it. */
static const char *wish(const char *text)
{
	return str_is_empty(text) ? NULL : text;
}

static int check_ssh_key(const char *path, Error **err)
{
	struct stat st;

	if (!path)
		return 0;
	if (access(path, R_OK) < 0 || stat(path, &st) < 0)
		error_set(err, errno == EACCES ? ERR_DENIED : ERR_NOT_FOUND,
			  "--ssh-key: cannot read '%s': %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		error_set(err, ERR_USAGE, "--ssh-key: '%s' is not a regular file", path);
	else
		return vm_check_text("--ssh-key", path, err);
	return error_hint(err, "name the file of a private key, like ~/.ssh/id_ed25519");
}

static int check_edits(const char *flag, const Strv *edits, Error **err)
{
	for (size_t i = 0; edits && i < edits->count; i++)
		if (vm_check_text(flag, edits->items[i], err) < 0)
			return -1;
	return 0;
}

/* The checks of create. */
static int check_update(Context *ctx, const VmUpdate *update, Error **err)
{
	VmChanges shape = { .cpus = update->cpus,
			    .memory_mib = update->memory_mib,
			    .network = wish(update->network) };

	if (vm_check_shape(&shape, err) < 0 ||
	    vm_check_hypervisor(wish(update->hypervisor), err) < 0 ||
	    vm_check_text("--boot-args", update->boot_args, err) < 0 ||
	    vm_check_text("--user", update->user, err) < 0 ||
	    vm_check_text("--ssh-user", update->ssh_user, err) < 0 ||
	    vm_check_text("--kernel", update->kernel, err) < 0 ||
	    check_ssh_key(wish(update->ssh_key), err) < 0 ||
	    check_edits("--env", update->env, err) < 0 ||
	    check_edits("--label", update->labels, err) < 0)
		return -1;
	return ops_kernel_check(ctx, wish(update->kernel), err);
}

static void set_text(char **field, const char *text)
{
	if (text)
		str_assign(field, wish(text));
}

/* By default it is the image's own user; without the image, root. */
static void set_user(Context *ctx, const char *user, Vm *vm)
{
	auto_image Image origin = { 0 };

	set_text(&vm->user, user);
	if (user && !*user && image_find_origin(ctx, vm, &origin))
		set_text(&vm->user, origin.config.user);
}

static int apply(Context *ctx, const VmUpdate *update, Vm *vm, Error **err)
{
	auto_free char *key = NULL;

	if (!str_is_empty(update->ssh_key) && path_absolute(update->ssh_key, &key, err) < 0)
		return -1;
	if (update->cpus)
		vm->cpus = update->cpus;
	if (update->memory_mib)
		vm->memory_mib = update->memory_mib;
	set_text(&vm->network_mode, update->network);
	if (update->hypervisor)
		vm_wish_hypervisor(vm, wish(update->hypervisor));
	set_text(&vm->boot_args, update->boot_args);
	set_user(ctx, update->user, vm);
	set_text(&vm->ssh_user, update->ssh_user);
	set_text(&vm->ssh_key, key ? key : update->ssh_key);
	if (update->env)
		pairs_edit(&vm->env, update->env);
	/* The image's command has them on top of the image's own, as `vm create` has it. */
	if (update->env && vm->run_cmd)
		pairs_edit(&vm->run_env, update->env);
	if (update->labels)
		pairs_edit(&vm->labels, update->labels);
	return update->kernel ? kernel_wish_for(vm, wish(update->kernel), err) : 0;
}

static int update_locked(Context *ctx, const char *name, const VmUpdate *update, Vm *vm,
			 bool *out_changed, Error **err)
{
	auto_vm Vm former = { 0 };
	auto_fd kernel_lock = -1;

	if (records_read_vm(&ctx->store, name, vm, err) < 0 || reconcile_vm(ctx, vm, err) < 0 ||
	    records_read_vm(&ctx->store, name, &former, err) < 0)
		return -1;
	if (!is_labels_only(update) &&
	    vm_require_state(vm, "created or stopped", VM_MASK(VM_CREATED) | VM_MASK(VM_STOPPED),
			     err) < 0)
		return -1;
	if (kernel_hold(ctx, wish(update->kernel), &kernel_lock, err) < 0 ||
	    apply(ctx, update, vm, err) < 0)
		return -1;
	*out_changed = !records_same_vm(&former, vm);
	if (!*out_changed)
		return 0;
	if (failpoint("vm.update.record", err) < 0)
		return -1;
	return records_write_vm(&ctx->store, vm, err);
}

int ops_vm_update(Context *ctx, const char *name, const VmUpdate *update, Vm *out_vm,
		  bool *out_changed, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_fd lock = -1;

	if (name_check("vm", name, err) < 0 || refuse_nothing(name, update, err) < 0 ||
	    check_update(ctx, update, err) < 0 || change_begin(ctx, err) < 0)
		return -1;
	/* Looked at first, so that a mistyped name leaves no lock file. */
	if (records_read_vm(&ctx->store, name, &vm, err) < 0 ||
	    store_lock_op(&ctx->store, "vm", name, &lock, err) < 0)
		return -1;
	vm_release(&vm);
	if (update_locked(ctx, name, update, &vm, out_changed, err) < 0)
		return error_wrap(err, "update vm '%s'", name);
	*out_vm = vm;
	vm = (Vm){ 0 };
	return 0;
}
