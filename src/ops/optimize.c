#include "ops/optimize.h"

#include <unistd.h>

#include "ops/reconcile.h"
#include "ops/vm.h"
#include "state/records.h"
#include "util/cancel.h"
#include "util/mem.h"
#include "util/os.h"
#include "util/process.h"

void optimize_report_release(OptimizeReport *report)
{
	strv_release(&report->vms);
	strv_release(&report->images);
}

/* From here on the volume may be used again, and then the work on it ends. */
static void let_go(void *arg)
{
	close_fd(arg);
}

/* Takes the lock. */
static int optimize_volume(Context *ctx, const char *name, const char *volume, int lock, Strv *done,
			   Error **err)
{
	auto_fd held = lock;
	bool changed;

	if (!ctx->storage->optimize)
		return 0;
	report_step(ctx, "optimize the disk of '%s'", name);
	if (ctx->storage->optimize(ctx->pool, volume, let_go, &held, &changed, err) < 0)
		return -1;
	report_done(ctx);
	if (changed)
		strv_push(done, name);
	return 0;
}

static int optimize_vm(Context *ctx, const char *name, bool is_named, Strv *done, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_fd lock = -1;

	/* Read once before its lock file is made, so that a mistyped name leaves none behind. */
	if (records_read_vm(&ctx->store, name, &vm, err) < 0 ||
	    store_lock_source(&ctx->store, "vm", name, &lock, err) < 0)
		return -1;
	vm_release(&vm);
	if (records_read_vm(&ctx->store, name, &vm, err) < 0)
		return -1;
	ops_vm_observe(&vm);
	if (!is_named && vm_state_is_live(vm.state))
		return 0;
	if (vm_require_state(&vm, "created or stopped", VM_MASK(VM_CREATED) | VM_MASK(VM_STOPPED),
			     err) < 0)
		return -1;
	return optimize_volume(ctx, name, vm.volume, steal_fd(&lock), done, err);
}

static int optimize_image(Context *ctx, const char *name, Strv *done, Error **err)
{
	auto_image Image image = { 0 };
	auto_fd lock = -1;

	if (store_lock_source(&ctx->store, "image", name, &lock, err) < 0 ||
	    records_read_image(&ctx->store, name, &image, err) < 0)
		return -1;
	return optimize_volume(ctx, name, image.id, steal_fd(&lock), done, err);
}

static int list_all(Context *ctx, Strv *out_vms, Strv *out_images, Error **err)
{
	auto_vm_list VmList vms = { 0 };
	auto_image_list ImageList images = { 0 };

	if (records_list_vms(&ctx->store, &vms, err) < 0 ||
	    records_list_images(&ctx->store, &images, err) < 0)
		return -1;
	for (size_t i = 0; i < vms.count; i++)
		if (vms.items[i].state != VM_BROKEN)
			strv_push(out_vms, vms.items[i].name);
	for (size_t i = 0; i < images.count; i++)
		if (images.items[i].id)
			strv_push(out_images, images.items[i].name);
	return 0;
}

int ops_storage_optimize(Context *ctx, const char *const *names, size_t count,
			 OptimizeFailed failed, void *arg, OptimizeReport *out_report, Error **err)
{
	auto_optimize_report OptimizeReport report = { 0 };
	auto_strv Strv vms = { 0 };
	auto_strv Strv images = { 0 };

	if (change_begin(ctx, err) < 0 || context_open_storage(ctx, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		strv_push(&vms, names[i]);
	if (!count && list_all(ctx, &vms, &images, err) < 0)
		return -1;
	for (size_t i = 0; i < vms.count + images.count; i++) {
		bool is_vm = i < vms.count;
		const char *name = is_vm ? vms.items[i] : images.items[i - vms.count];
		Error *why = NULL;

		if (cancel_check(err) < 0)
			return -1;
		if ((is_vm ? optimize_vm(ctx, name, count > 0, &report.vms, &why)
			   : optimize_image(ctx, name, &report.images, &why)) < 0)
			failed(arg, name, why);
	}
	*out_report = report;
	report = (OptimizeReport){ 0 };
	return 0;
}

void optimize_in_background(Context *ctx, const Vm *vm)
{
	auto_command Command cmd = { 0 };
	auto_free char *self = NULL;
	auto_error trouble = NULL;
	pid_t pid;

	if (context_open_storage(ctx, &trouble) < 0 || !ctx->storage->optimize ||
	    os_executable(&self) < 0)
		return;
	command_init(&cmd, self, "--quiet", "--state-dir", ctx->store.dir, "storage", "optimize",
		     vm->name, NULL);
	cmd.new_session = true;
	if (command_spawn(&cmd, &pid, &trouble) < 0)
		report_warning_error(ctx, &trouble, "optimize the disk of vm '%s'", vm->name);
}
