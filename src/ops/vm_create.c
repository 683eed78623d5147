#include <string.h>

#include "backend/registry.h"
#include "model/size.h"
#include "model/uuid.h"
#include "ops/disk.h"
#include "ops/image.h"
#include "ops/kernel.h"
#include "ops/reconcile.h"
#include "ops/vm.h"
#include "ops/vm_build.h"
#include "ops/vm_check.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

#define DEFAULT_CPUS	  1
#define DEFAULT_MEMORY	  1024 /* MiB */
#define DEFAULT_DISK_SIZE 8192 /* MiB */

/* All that can be wrong with the user's words, before anything is looked up or touched. */
static int check_spec(Context *ctx, const VmSpec *spec, Error **err)
{
	VmChanges shape = { .cpus = spec->cpus,
			    .memory_mib = spec->memory_mib,
			    .disk_size_mib = spec->disk_size_mib,
			    .kernel = spec->kernel,
			    .network = spec->network };

	if (name_check("vm", spec->name, err) < 0 || vm_check_shape(&shape, err) < 0)
		return -1;
	if (vm_check_hypervisor(spec->hypervisor, err) < 0 ||
	    vm_check_text("--boot-args", spec->boot_args, err) < 0 ||
	    vm_check_text("--user", spec->user, err) < 0 ||
	    vm_check_text("--kernel", spec->kernel, err) < 0)
		return -1;
	if (spec->env && vm_check_pairs("--env", spec->env, err) < 0)
		return -1;
	if (spec->labels && vm_check_pairs("--label", spec->labels, err) < 0)
		return -1;
	return ops_kernel_check(ctx, spec->kernel, err);
}

static int find_image(Context *ctx, const VmSpec *spec, Image *out_image, Error **err)
{
	PullOptions options = { 0 };
	bool existed;

	if (ops_image_find(ctx, spec->image, out_image, spec->pull ? NULL : err) == 0)
		return 0;
	return spec->pull ? ops_image_pull(ctx, spec->image, &options, out_image, &existed, err)
			  : -1;
}

/* The image, held shared, so that nobody deletes it before the VM that was made from it can be seen. */
static int hold_image(Context *ctx, const VmSpec *spec, Image *out_image, int *out_lock,
		      Error **err)
{
	bool is_again = false;

	for (;;) {
		auto_image Image found = { 0 };
		auto_error gone = NULL;
		auto_fd lock = -1;

		if (find_image(ctx, spec, &found, err) < 0 ||
		    failpoint("vm.create.hold", err) < 0 ||
		    store_lock_source(&ctx->store, "image", found.name, &lock, err) < 0)
			return -1;
		if (records_read_image(&ctx->store, found.name, out_image, &gone) == 0) {
			*out_lock = steal_fd(&lock);
			return 0;
		}
		/* A prune may come between the pull and the lock; hardly twice. */
		if (!spec->pull || is_again || error_code(gone) != ERR_NOT_FOUND) {
			error_move(err, &gone);
			return -1;
		}
		is_again = true;
	}
}

static void describe(const VmSpec *spec, const Image *image, Vm *vm)
{
	vm->name = xstrdup(spec->name);
	vm->id = uuid_new();
	vm->image = xstrdup(image->name);
	vm->image_id = xstrdup(image->id);
	vm->cpus = spec->cpus ? spec->cpus : DEFAULT_CPUS;
	vm->memory_mib = spec->memory_mib ? spec->memory_mib : DEFAULT_MEMORY;
	vm->disk_size_mib = spec->disk_size_mib ? spec->disk_size_mib : DEFAULT_DISK_SIZE;
	vm->network_mode = xstrdup_null(spec->network);
	vm_wish_hypervisor(vm, spec->hypervisor);
	vm->boot_args = str_is_empty(spec->boot_args) ? NULL : xstrdup(spec->boot_args);
	vm->created_at = time_text_now();
	vm->has_init = image->has_init;
	vm->workdir = str_is_empty(image->config.workdir) ? NULL : xstrdup(image->config.workdir);
	strv_copy(&vm->env, &image->config.env);
	if (spec->env)
		env_merge(&vm->env, spec->env);
	if (spec->labels)
		env_merge(&vm->labels, spec->labels);
	if (spec->user)
		vm->user = xstrdup(spec->user);
	else if (!str_is_empty(image->config.user))
		vm->user = xstrdup(image->config.user);
	vm->run_cmd = spec->run_cmd;
	if (spec->run_cmd && spec->env)
		strv_copy(&vm->run_env, spec->env);
}

static int check_command(const VmSpec *spec, const Image *image, Error **err)
{
	if (!spec->run_cmd || image->config.entrypoint.count > 0 || image->config.cmd.count > 0)
		return 0;
	error_set(err, ERR_USAGE, "--run-cmd: image '%s' names no command to run", image->name);
	return error_hint(err, "leave it out, and run what you want with: ember exec %s -- COMMAND",
			  spec->name);
}

/* What nobody asked for: the default, but no less than the image and no more than its filesystem, made elsewhere perhaps,
 * can grow to. */
static uint64_t fitting_size(Context *ctx, const Image *image, uint64_t image_mib,
			     uint64_t default_mib)
{
	uint64_t most_mib;

	if (default_mib <= image_mib)
		return image_mib;
	most_mib = disk_growth_max(ctx, image->id) / MIB;
	if (most_mib >= default_mib)
		return default_mib;
	return most_mib > image_mib ? most_mib : image_mib;
}

/* A wish that is too small or too large for the image is refused. */
static int fit_disk(Context *ctx, const VmSpec *spec, const Image *image, Vm *vm, Error **err)
{
	uint64_t image_mib = (image->size_bytes + MIB - 1) / MIB;
	auto_free char *command = NULL;
	auto_free char *wish = NULL;
	auto_free char *need = NULL;

	if (!spec->disk_size_mib) {
		vm->disk_size_mib = fitting_size(ctx, image, image_mib, vm->disk_size_mib);
		return 0;
	}
	if (vm->disk_size_mib >= image_mib) {
		command = xasprintf("ember vm create %s --image %s", spec->name, image->name);
		return disk_check_growth(ctx, image->id, image_mib, vm->disk_size_mib, command,
					 err);
	}
	wish = size_text(vm->disk_size_mib * MIB);
	need = size_text(image_mib * MIB);
	error_set(err, ERR_USAGE, "--disk-size: %s is smaller than image '%s', which needs %s",
		  wish, image->name, need);
	return error_hint(err, "ask for more: --disk-size %lluM", (unsigned long long)image_mib);
}

int ops_vm_create(Context *ctx, const VmSpec *spec, Vm *out_vm, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_image Image image = { 0 };
	auto_fd lock = -1;
	auto_fd image_lock = -1;
	auto_fd kernel_lock = -1;

	if (check_spec(ctx, spec, err) < 0 || context_load_or_init(ctx, err) < 0 ||
	    change_begin(ctx, err) < 0)
		return -1;
	if (store_lock_op(&ctx->store, "vm", spec->name, &lock, err) < 0 ||
	    vm_build_check_free(ctx, spec->name, err) < 0 ||
	    kernel_hold(ctx, spec->kernel, &kernel_lock, err) < 0 ||
	    hold_image(ctx, spec, &image, &image_lock, err) < 0)
		return -1;
	describe(spec, &image, &vm);
	if (check_command(spec, &image, err) < 0 || fit_disk(ctx, spec, &image, &vm, err) < 0 ||
	    kernel_wish_for(&vm, spec->kernel, err) < 0)
		return -1;
	report_step(ctx, "clone image '%s' for vm '%s'", image.name, vm.name);
	if (vm_build(ctx, &vm, image.id, err) < 0)
		return error_wrap(err, "create vm '%s'", vm.name);
	report_done(ctx);
	*out_vm = vm;
	vm = (Vm){ 0 };
	return 0;
}
