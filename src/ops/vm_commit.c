/*
 * An image from a VM's disk: a sealed copy-on-write clone, there in no time whatever its size.
 */
#include "model/size.h"
#include "model/uuid.h"
#include "ops/disk.h"
#include "ops/image.h"
#include "ops/image_make.h"
#include "ops/image_move.h"
#include "ops/reconcile.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

int vm_read_resting(Context *ctx, const char *name, Vm *out_vm, Error **err)
{
	auto_vm Vm vm = { 0 };

	if (records_read_vm(&ctx->store, name, &vm, err) < 0)
		return -1;
	ops_vm_observe(&vm);
	if (vm_require_state(&vm, "created or stopped", VM_MASK(VM_CREATED) | VM_MASK(VM_STOPPED),
			     err) < 0)
		return -1;
	*out_vm = vm;
	vm = (Vm){ 0 };
	return 0;
}

int vm_image_config(Context *ctx, const Vm *vm, const char *disk, Image *image, Error **err)
{
	auto_image Image origin = { 0 };
	auto_disk_facts DiskFacts facts = { 0 };

	if (image_find_origin(ctx, vm, &origin)) {
		image->config = origin.config;
		origin.config = (ImageConfig){ 0 };
		image->arch = steal(&origin.arch);
	} else {
		/* It was replaced by a newer one; its words are on the disk still. */
		if (disk_probe(ctx, disk, &facts, err) < 0)
			return -1;
		image->config = facts.config;
		facts.config = (ImageConfig){ 0 };
		image->arch = xstrdup(os_machine());
	}
	/* What `vm create` was told on top. */
	strv_release(&image->config.env);
	strv_copy(&image->config.env, &vm->env);
	str_assign(&image->config.user, vm->user);
	str_assign(&image->config.workdir, vm->workdir);
	return 0;
}

static void describe(const Vm *vm, const char *name, Image *image)
{
	image->name = xstrdup(name);
	image->id = uuid_new();
	image->reference = xasprintf("local:%s", name);
	image->created_at = time_text_now();
	image->has_init = vm->has_init;
}

static int refuse_foreign(const Vm *vm, Error **err)
{
	error_set(err, ERR_UNSUPPORTED, "the disk of vm '%s' holds no ext4 filesystem", vm->name);
	return error_hint(err, "save it as it is: ember vm export %s FILE --as raw", vm->name);
}

/* A disk of which nothing has to be read is not opened. */
static int settle_disk(Context *ctx, const Vm *vm, Image *image, Error **err)
{
	auto_plain_disk PlainDisk disk = { 0 };
	auto_image Image origin = { 0 };
	DiskState state;

	if (disk_look(ctx, image->id, &state, err) < 0)
		return -1;
	if (state == DISK_FOREIGN)
		return refuse_foreign(vm, err);
	if (state == DISK_CLEAN && image_find_origin(ctx, vm, &origin))
		return vm_image_config(ctx, vm, NULL, image, err);
	if (plain_disk_open(ctx, "image", image->name, image->id, &disk, err) < 0)
		return -1;
	if (state == DISK_DIRTY &&
	    (disk_recover(ctx, disk.path, err) < 0 || plain_disk_save(&disk, image->id, err) < 0))
		return -1;
	return vm_image_config(ctx, vm, disk.path, image, err);
}

static int clone_disk(Context *ctx, const Vm *vm, Image *image, Error **err)
{
	image->disk_path = ctx->storage->path(&ctx->site, image->id);
	if (failpoint("vm.commit.clone", err) < 0 ||
	    ctx->storage->clone(ctx->pool, vm->volume, image->id, 0, /* live= */ NULL, err) < 0 ||
	    settle_disk(ctx, vm, image, err) < 0 || failpoint("vm.commit.seal", err) < 0 ||
	    ctx->storage->seal(ctx->pool, image->id, err) < 0)
		return -1;
	return ctx->storage->size(ctx->pool, image->id, &image->size_bytes, err);
}

static int make(Context *ctx, const Vm *vm, Image *image, bool replace, Error **err)
{
	auto_free char *tmp = NULL;

	if (context_open_storage(ctx, err) < 0 || image_begin(ctx, image, &tmp, err) < 0)
		return -1;
	report_step(ctx, "clone the disk of vm '%s'", vm->name);
	if (clone_disk(ctx, vm, image, err) < 0)
		return -1;
	return image_commit(ctx, image, tmp, replace, err);
}

int image_check_free(Context *ctx, const char *name, Error **err)
{
	auto_free char *dir = store_image_dir(&ctx->store, name);

	if (!fs_exists(dir))
		return 0;
	error_set(err, ERR_EXISTS, "image '%s' already exists", name);
	return error_hint(err, "choose another name, or replace it: --replace");
}

int ops_vm_commit(Context *ctx, const char *vm_name, const char *name, bool replace,
		  Image *out_image, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_image Image image = { 0 };
	auto_fd vm_lock = -1;
	auto_fd lock = -1;

	/* Read once before any lock file is made, so that a mistyped name leaves none behind. */
	if (name_check("image", name, err) < 0 || change_begin(ctx, err) < 0 ||
	    vm_read_resting(ctx, vm_name, &vm, err) < 0 ||
	    store_lock_source(&ctx->store, "vm", vm_name, &vm_lock, err) < 0 ||
	    store_lock_op(&ctx->store, "image", name, &lock, err) < 0)
		return -1;
	vm_release(&vm);
	if (vm_read_resting(ctx, vm_name, &vm, err) < 0 ||
	    (!replace && image_check_free(ctx, name, err) < 0))
		return -1;
	describe(&vm, name, &image);
	if (make(ctx, &vm, &image, replace, err) < 0) {
		image_undo(ctx, name);
		return error_wrap(err, "commit vm '%s' as image '%s'", vm_name, name);
	}
	report_done(ctx);
	*out_image = image;
	image = (Image){ 0 };
	return 0;
}
