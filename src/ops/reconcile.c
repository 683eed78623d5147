#include "ops/reconcile.h"

#include <string.h>

#include "backend/registry.h"
#include "model/uuid.h"
#include "ops/leftover.h"
#include "ops/system.h"
#include "ops/vm_process.h"
#include "ops/vm_resize.h"
#include "state/records.h"
#include "state/snapshots.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* One walk over the installation. */
typedef struct Sweep {
	Context *ctx;
	bool dry_run;
	bool is_alone; /* the caller has locked out everybody */
	Strv *actions;
} Sweep;

int vm_detach_network(const Vm *vm, Error **err)
{
	const NetworkBackend *network;

	if (!vm->network.mode)
		return 0;
	network = network_backend_find(vm->network.mode, err);
	return network ? network->detach(vm, err) : -1;
}

/* Nobody has its disk open any more. One that stays attached is in nobody's way, and is let go of the next time. */
static void let_go_of_disk(Context *ctx, const Vm *vm)
{
	const StorageBackend *storage = context_storage(ctx);
	auto_error trouble = NULL;

	if (!storage || !storage->detach || !context_has_store(ctx))
		return;
	if (context_open_storage(ctx, &trouble) < 0 ||
	    ctx->storage->detach(ctx->pool, vm->volume, &trouble) < 0)
		report_warning_error(ctx, &trouble, "detach the disk of vm '%s'", vm->name);
}

static int settle_stopped(Context *ctx, Vm *vm, Error **err)
{
	auto_error trouble = NULL;

	if (failpoint("reconcile.detach", err) < 0 || vm_detach_network(vm, err) < 0 ||
	    store_remove_run_dir(&ctx->store, vm->id, err) < 0)
		return -1;
	let_go_of_disk(ctx, vm);
	/* Only a start that never finished leads back to `created`. */
	vm_set_state(vm, vm->state == VM_STARTING && !vm->started_at ? VM_CREATED : VM_STOPPED);
	vm->process = (ProcId){ 0 };
	vm->keeper = (ProcId){ 0 };
	/* Its process is gone, whatever the record says: on a disk that is full a VM can be stopped, and deleted to make room. */
	if (failpoint("reconcile.record", &trouble) < 0 ||
	    records_write_vm(&ctx->store, vm, &trouble) < 0)
		report_warning_error(ctx, &trouble,
				     "vm '%s' has stopped, which its record cannot say yet",
				     vm->name);
	return 0;
}

int reconcile_vm(Context *ctx, Vm *vm, Error **err)
{
	if (!vm_state_is_live(vm->state))
		return vm_settle_disk(ctx, vm, err);
	if (vm->state != VM_STARTING && proc_is_alive(&vm->process))
		return 0;
	/* Under its lock `starting` means that the `ember vm start` died before its commit: what it began is undone. */
	if (vm->state == VM_STARTING && vm_process_kill(ctx, vm, err) < 0)
		return error_wrap(err, "end what is left of vm '%s'", vm->name);
	if (settle_stopped(ctx, vm, err) < 0)
		return -1;
	return vm_settle_disk(ctx, vm, err);
}

static void say(Sweep *sweep, const char *what, const char *name)
{
	strv_pushf(sweep->actions, "%s '%s'", what, name);
}

/* 1: we hold the lock of that name, 0: somebody works on it, so it is not ours to judge. */
static int try_lock(const Sweep *sweep, const char *kind, const char *name, int *out_fd,
		    Error **err)
{
	return store_lock(&sweep->ctx->store, kind, name, LOCK_EXCLUSIVE, DEADLINE_NOW, out_fd,
			  err);
}

static int sweep_vm(Sweep *sweep, const char *name, Error **err)
{
	auto_fd lock = -1;
	auto_vm Vm vm = { 0 };
	VmState before;
	uint64_t resize_mib;
	int got = try_lock(sweep, "vm", name, &lock, err);

	if (got <= 0)
		return got;
	if (records_read_vm(&sweep->ctx->store, name, &vm, NULL) < 0)
		return 0; /* gone meanwhile, or broken: shown by `vm list`, and only its owner may decide */
	before = vm.state;
	resize_mib = vm.disk_resize_mib;
	if (sweep->dry_run) {
		if (before == VM_STARTING || resize_mib ||
		    (vm_state_is_live(before) && !proc_is_alive(&vm.process)))
			say(sweep, "would settle vm", name);
		return 0;
	}
	if (reconcile_vm(sweep->ctx, &vm, err) < 0 || vm_settle_disk(sweep->ctx, &vm, err) < 0)
		return -1;
	/* A guest that powered itself off was settled by its keeper, which knows nothing of disks. */
	if (!vm_state_is_live(vm.state) && vm.state == before)
		let_go_of_disk(sweep->ctx, &vm);
	if (resize_mib)
		say(sweep, "settled the size of the disk of vm", name);
	if (vm.state != before)
		strv_pushf(sweep->actions, "vm '%s' was %s, is %s", name, vm_state_name(before),
			   vm_state_name(vm.state));
	return 0;
}

/* "vm:NAME" or "vm:NAME:ID8" -> kind and name; false for what is not ours. */
static bool split_leftover(const char *entry, char **out_kind, char **out_name)
{
	const char *colon = strchr(entry, ':');

	if (!colon)
		return false;
	*out_kind = xstrndup(entry, (size_t)(colon - entry));
	*out_name = xstrndup(colon + 1, strcspn(colon + 1, ":"));
	return name_check(*out_kind, *out_name, NULL) == 0;
}

/* Whatever lies in tmp/ or trash/ under a free lock was left by a crash. */
static int sweep_leftovers(Sweep *sweep, const char *where, Error **err)
{
	auto_free char *dir = store_path(&sweep->ctx->store, where);
	auto_strv Strv entries = { 0 };

	if (fs_list(dir, &entries, err) < 0)
		return -1;
	for (size_t i = 0; i < entries.count; i++) {
		auto_free char *path = path_join(dir, entries.items[i]);
		auto_free char *kind = NULL;
		auto_free char *name = NULL;
		auto_fd lock = -1;
		int got;

		if (!split_leftover(entries.items[i], &kind, &name))
			continue;
		got = try_lock(sweep, kind, name, &lock, err);
		if (got < 0)
			return -1;
		if (!got || !fs_exists(path))
			continue;
		say(sweep,
		    sweep->dry_run ? "would remove what is left of" : "removed what was left of",
		    name);
		if (!sweep->dry_run && leftover_destroy(sweep->ctx, path, err) < 0)
			return error_wrap(err, "remove what is left of %s '%s'", kind, name);
	}
	return 0;
}

/* Every volume that some record claims. */
static int claimed_volumes(Context *ctx, Strv *out_volumes, Error **err)
{
	static const char *const places[] = { "tmp", "vms", "images", "trash" };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		auto_free char *dir = store_path(&ctx->store, places[i]);
		auto_strv Strv entries = { 0 };

		if (fs_list(dir, &entries, err) < 0)
			return -1;
		for (size_t j = 0; j < entries.count; j++) {
			auto_free char *path = path_join(dir, entries.items[j]);

			records_read_volumes_at(path, out_volumes);
		}
	}
	return 0;
}

static int snapshots_readable(Context *ctx, const Vm *vm, bool *readable, Error **err)
{
	auto_snapshot_list SnapshotList list = { 0 };

	if (snapshots_list(&ctx->store, vm, &list, err) < 0)
		return -1;
	for (size_t i = 0; i < list.count; i++)
		*readable &= list.items[i].id != NULL;
	return 0;
}

/* Is every VM, snapshot and image readable? A broken record may own any volume, so then no volume is called an orphan. */
static int all_readable(Context *ctx, bool *out_readable, Error **err)
{
	auto_vm_list VmList vms = { 0 };
	auto_image_list ImageList images = { 0 };

	if (records_list_vms(&ctx->store, &vms, err) < 0 ||
	    records_list_images(&ctx->store, &images, err) < 0)
		return -1;
	*out_readable = true;
	for (size_t i = 0; i < vms.count; i++)
		if (vms.items[i].state == VM_BROKEN)
			*out_readable = false;
		else if (snapshots_readable(ctx, &vms.items[i], out_readable, err) < 0)
			return -1;
	for (size_t i = 0; i < images.count; i++)
		if (!images.items[i].id)
			*out_readable = false;
	return 0;
}

/* Volumes that no record claims. Nobody may change anything meanwhile: a directory is read name by name, so a record that is
 * renamed while it is read may be seen under neither name. */
static int sweep_volumes_alone(Sweep *sweep, Error **err)
{
	Context *ctx = sweep->ctx;
	auto_strv Strv volumes = { 0 };
	auto_strv Strv claimed = { 0 };
	bool readable;

	if (context_open_storage(ctx, err) < 0 ||
	    ctx->storage->list(ctx->pool, &volumes, err) < 0 ||
	    claimed_volumes(ctx, &claimed, err) < 0 || all_readable(ctx, &readable, err) < 0)
		return -1;
	for (size_t i = 0; i < volumes.count; i++) {
		if (strv_has(&claimed, volumes.items[i]) || !uuid_is_valid(volumes.items[i]))
			continue;
		if (!readable) {
			say(sweep, "kept, because a record is broken, volume", volumes.items[i]);
			continue;
		}
		say(sweep,
		    sweep->dry_run ? "would remove orphaned volume" : "removed orphaned volume",
		    volumes.items[i]);
		if (!sweep->dry_run && ctx->storage->destroy(ctx->pool, volumes.items[i], err) < 0)
			return -1;
	}
	return 0;
}

/* Every changing command holds the lock shared (change_begin). */
static int sweep_volumes(Sweep *sweep, Error **err)
{
	auto_fd lock = -1;
	int got;

	if (sweep->is_alone)
		return sweep_volumes_alone(sweep, err);
	got = try_lock(sweep, "store", "use", &lock, err);
	if (got < 0)
		return -1;
	if (got)
		return sweep_volumes_alone(sweep, err);
	strv_pushf(sweep->actions, "volumes are not looked at while other commands run");
	return 0;
}

static int sweep_all(Sweep *sweep, Error **err)
{
	Context *ctx = sweep->ctx;
	auto_free char *vms = NULL;
	auto_strv Strv names = { 0 };
	size_t failed = 0;

	if (context_load(ctx, err) < 0)
		return -1;
	vms = store_path(&ctx->store, "vms");
	if (fs_list(vms, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++) {
		auto_error trouble = NULL;

		if (name_check("vm", names.items[i], NULL) < 0 ||
		    sweep_vm(sweep, names.items[i], &trouble) == 0)
			continue;
		/* One VM that cannot be settled is no reason to leave the others. */
		report_warning_error(ctx, &trouble, "reconcile vm '%s'", names.items[i]);
		failed++;
	}
	if (sweep_leftovers(sweep, "tmp", err) < 0 || sweep_leftovers(sweep, "trash", err) < 0 ||
	    sweep_volumes(sweep, err) < 0)
		return -1;
	if (!failed)
		return 0;
	error_set(err, ERR_FAILED, "%zu vm%s could not be settled", failed, failed == 1 ? "" : "s");
	return error_hint(err, "see which: ember vm list");
}

int ops_reconcile(Context *ctx, bool dry_run, Strv *out_actions, Error **err)
{
	Sweep sweep = { .ctx = ctx, .dry_run = dry_run, .actions = out_actions };

	return sweep_all(&sweep, err);
}

int reconcile_alone(Context *ctx, Error **err)
{
	auto_strv Strv actions = { 0 };
	Sweep sweep = { .ctx = ctx, .is_alone = true, .actions = &actions };

	return sweep_all(&sweep, err);
}

/* From here to the end of the command no deinit; what one did before is looked at again. */
static int hold_installation(Context *ctx, Error **err)
{
	if (ctx->has_use_lock)
		return 0;
	if (store_lock_source(&ctx->store, "store", "use", &ctx->use_lock, err) < 0)
		return -1;
	ctx->has_use_lock = true;
	context_close_storage(ctx);
	config_release(&ctx->config);
	return context_load(ctx, err);
}

int change_begin(Context *ctx, Error **err)
{
	auto_strv Strv actions = { 0 };
	auto_error trouble = NULL;
	Sweep sweep = { .ctx = ctx, .actions = &actions };

	if (context_load(ctx, err) < 0 || hold_installation(ctx, err) < 0)
		return -1;
	if (sweep_leftovers(&sweep, "tmp", &trouble) < 0 ||
	    sweep_leftovers(&sweep, "trash", &trouble) < 0)
		report_warning_error(ctx, &trouble, "clean up after an interrupted command");
	return 0;
}

bool change_end(const Context *ctx, const char *dir)
{
	auto_error trouble = NULL;

	if (failpoint("change.sync", &trouble) == 0 && fs_sync_path(dir, &trouble) == 0)
		return true;
	report_warning_error(ctx, &trouble, "it is done, but a power cut may undo it");
	return false;
}
