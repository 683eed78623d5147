/*
 * Taking a snapshot, of a VM that runs above all.
 */
#include "model/size.h"
#include "model/uuid.h"
#include "ops/disk.h"
#include "ops/leftover.h"
#include "ops/reconcile.h"
#include "ops/snapshot.h"
#include "ops/snapshot_lock.h"
#include "ops/vm.h"
#include "ops/vm_live.h"
#include "ops/vm_process.h"
#include "state/snapshots.h"
#include "util/cancel.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

#define STATUS_MS 5000
/* A guest with much to write syncs for a while before it freezes; it is not frozen meanwhile. */
#define FREEZE_MS 30000
/* It goes on by itself after that, should we hang: longer than any clone but that of a disk in a million pieces. */
#define STILL_MAX_MS 10000
#define HOLD_MS	     10000
#define GO_ON_MS     15000

static void describe(const Vm *vm, const char *name, Snapshot *snapshot)
{
	snapshot->name = xstrdup(name);
	snapshot->id = uuid_new();
	snapshot->vm_id = xstrdup(vm->id);
	snapshot->created_at = time_text_now();
	snapshot->disk_size_mib = vm->disk_size_mib;
	snapshot->vm_state = vm->state;
	snapshot->consistency = CONSISTENT_CRASH; /* until more is known */
}

/* The intent: tmp/vm:VM:ID8/ with the record that names the volume. */
static int record_intent(const Snapshot *snapshot, const char *tmp, Error **err)
{
	if (failpoint("snapshot.intent", err) < 0 || fs_mkdir(tmp, 0700, err) < 0 ||
	    failpoint("snapshot.record", err) < 0)
		return -1;
	return snapshots_write_new_at(tmp, snapshot, err);
}

static int clone_disk(Context *ctx, const Vm *vm, const Snapshot *snapshot, const StorageLive *live,
		      SnapshotCost *cost, Error **err)
{
	int64_t began_ns = clock_monotonic_ns();

	if (failpoint("snapshot.clone", err) < 0 ||
	    ctx->storage->clone(ctx->pool, vm->volume, snapshot->id, 0, live, err) < 0)
		return error_wrap(err, "clone the disk");
	cost->clone_us = (uint64_t)(clock_monotonic_ns() - began_ns) / 1000;
	return 0;
}

/* Freeze the guest's filesystems: 1, or 0 when the guest cannot. -1 when the user has had enough. */
static int try_freeze(Context *ctx, const Vm *vm, Client *client, Hold *out_hold, Error **err)
{
	auto_vm_status VmStatus status = { 0 };
	auto_error why = NULL;

	if (client_status(client, deadline_in_ms(STATUS_MS), &status, err) < 0)
		return -1;
	/* One that is paused cannot answer, whatever it could do before. */
	if (!status.agent_ready || !str_equal(status.state, "running"))
		return 0;
	report_step(ctx, "freeze the filesystems of vm '%s'", vm->name);
	if (client_freeze(client, STILL_MAX_MS, deadline_in_ms(FREEZE_MS), out_hold, &why) == 0)
		return 1;
	if (error_code(why) == ERR_CANCELED) {
		error_move(err, &why);
		return -1;
	}
	report_warning_error(ctx, &why, "vm '%s' stands still instead", vm->name);
	return 0;
}

/* Nobody can say any more what a clone of it is worth. */
static int refuse_moved(const Vm *vm, Error **err)
{
	error_set(err, ERR_TIMEOUT, "vm '%s' went on before the clone of its disk was made",
		  vm->name);
	return error_hint(err, "try again, or stop it first: ember vm stop %s", vm->name);
}

/* One that was killed has left the VM as it was, which may be standing still; the next one lets it run. */
static void give_keeper(Context *ctx, const Vm *vm)
{
	auto_client client = NULL;
	auto_error trouble = NULL;

	if (vm_process_connect(ctx, vm, &client, &trouble) < 0)
		report_warning_error(ctx, &trouble, "vm '%s' may stand still", vm->name);
}

/* What was held is lost. */
static void go_on_anew(Context *ctx, const Vm *vm, Error **trouble)
{
	report_warning_error(ctx, trouble, "vm '%s' was not still for all of the clone", vm->name);
	give_keeper(ctx, vm);
}

/* The clone is made. That a freeze ended early does not make it worse than what a power cut leaves, which is what is said of
 * it then; of a VM that should have stood still and did not, nothing is said. */
static int go_on(Context *ctx, const Vm *vm, Hold *hold, bool is_frozen, Snapshot *snapshot,
		 SnapshotCost *cost, Error **err)
{
	auto_error trouble = NULL;
	HoldEnd end = { 0 };

	if (client_hold_end(hold, deadline_in_ms(GO_ON_MS), &end, &trouble) < 0) {
		go_on_anew(ctx, vm, &trouble);
		return is_frozen ? 0 : refuse_moved(vm, err);
	}
	if (end.is_expired && !is_frozen)
		return refuse_moved(vm, err);
	cost->still_us = end.held_us;
	report_retitle(ctx, "clone the disk of vm '%s', which was still for %.1f ms", vm->name,
		       (double)end.held_us / 1000);
	if (end.is_expired)
		report_warning(ctx, "the clone took longer than vm '%s' may be frozen", vm->name);
	else if (is_frozen)
		snapshot->consistency = CONSISTENT_FILESYSTEM;
	return 0;
}

static int clone_live(Context *ctx, const Vm *vm, Snapshot *snapshot, SnapshotCost *cost,
		      Error **err)
{
	/* The connection that keeps the VM still has ears for nothing else. */
	auto_live_disk LiveDisk disk = { 0 };
	auto_client client = NULL;
	Hold hold;
	int frozen;

	if (live_disk_open(ctx, vm, &disk, err) < 0 || failpoint("snapshot.still", err) < 0 ||
	    vm_process_connect(ctx, vm, &client, err) < 0)
		return -1;
	frozen = try_freeze(ctx, vm, client, &hold, err);
	if (frozen < 0 || (frozen == 0 && client_hold(client, STILL_MAX_MS, deadline_in_ms(HOLD_MS),
						      &hold, err) < 0))
		return -1;
	report_step(ctx, "clone the disk of vm '%s'", vm->name);
	/* Failing here, the client is closed, and with it ends what it held. */
	if (clone_disk(ctx, vm, snapshot, &disk.live, cost, err) < 0 ||
	    failpoint("snapshot.go-on", err) < 0) {
		give_keeper(ctx, vm);
		return -1;
	}
	return go_on(ctx, vm, &hold, frozen > 0, snapshot, cost, err);
}

/* A disk that nobody has open tells how it was left, unless it is of a kind that we do not know. */
static int look_at_rest(Context *ctx, const Vm *vm, Snapshot *snapshot, Error **err)
{
	DiskState state;

	if (disk_look(ctx, vm->volume, &state, err) < 0)
		return -1;
	if (state == DISK_CLEAN)
		snapshot->consistency = CONSISTENT_FILESYSTEM;
	return 0;
}

static int clone_resting(Context *ctx, const Vm *vm, const Snapshot *snapshot, SnapshotCost *cost,
			 Error **err)
{
	report_step(ctx, "clone the disk of vm '%s'", vm->name);
	return clone_disk(ctx, vm, snapshot, /* live= */ NULL, cost, err);
}

/* All that precedes the commit. The record is written again when it has become better than it was as an intent. */
static int assemble(Context *ctx, const Vm *vm, Snapshot *snapshot, const char *tmp,
		    SnapshotCost *cost, Error **err)
{
	bool is_live = vm_state_is_live(vm->state);
	Consistency intended;

	if (!is_live && look_at_rest(ctx, vm, snapshot, err) < 0)
		return -1;
	intended = snapshot->consistency;
	if (record_intent(snapshot, tmp, err) < 0 ||
	    (is_live ? clone_live(ctx, vm, snapshot, cost, err)
		     : clone_resting(ctx, vm, snapshot, cost, err)) < 0 ||
	    failpoint("snapshot.seal", err) < 0 ||
	    ctx->storage->seal(ctx->pool, snapshot->id, err) < 0 || cancel_check(err) < 0)
		return -1;
	if (snapshot->consistency != intended &&
	    (failpoint("snapshot.settle", err) < 0 || snapshots_write_at(tmp, snapshot, err) < 0))
		return -1;
	return fs_sync_path(tmp, err);
}

static int commit(Context *ctx, const Vm *vm, const Snapshot *snapshot, const char *tmp,
		  Error **err)
{
	auto_free char *vm_dir = store_vm_dir(&ctx->store, vm->name);
	auto_free char *all = snapshots_dir(&ctx->store, vm->name);
	auto_free char *dir = snapshot_dir(&ctx->store, vm->name, snapshot->name);

	if (failpoint("snapshot.commit", err) < 0 || fs_mkdir(all, 0700, err) < 0 ||
	    fs_sync_path(vm_dir, err) < 0 || fs_rename_new(tmp, dir, err) < 0)
		return -1;
	(void)change_end(ctx, all);
	return 0;
}

static int create(Context *ctx, const Vm *vm, Snapshot *snapshot, SnapshotCost *cost, Error **err)
{
	auto_free char *tmp = store_work_dir(&ctx->store, "vm", vm->name, snapshot->id);
	auto_error undo = NULL;

	if (assemble(ctx, vm, snapshot, tmp, cost, err) == 0 &&
	    commit(ctx, vm, snapshot, tmp, err) == 0)
		return 0;
	if (leftover_destroy(ctx, tmp, &undo) < 0)
		report_warning_error(ctx, &undo,
				     "undo snapshot '%s' (ember reconcile will finish it)",
				     snapshot->name);
	return -1;
}

static int check_free(Context *ctx, const Vm *vm, const char *name, Error **err)
{
	auto_free char *dir = snapshot_dir(&ctx->store, vm->name, name);

	if (!fs_exists(dir))
		return 0;
	error_set(err, ERR_EXISTS, "snapshot '%s' of vm '%s' already exists", name, vm->name);
	return error_hint(err, "choose another name, or remove it: ember snapshot delete %s %s",
			  vm->name, name);
}

int ops_snapshot_create(Context *ctx, const char *vm_name, const char *name, Snapshot *out_snapshot,
			SnapshotCost *out_cost, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_snapshot Snapshot snapshot = { 0 };
	SnapshotCost cost = { 0 };
	auto_fd lock = -1;

	if (snapshot_name_check(name, err) < 0 ||
	    snapshot_lock_vm(ctx, vm_name, &vm, &lock, err) < 0 ||
	    check_free(ctx, &vm, name, err) < 0 || context_open_storage(ctx, err) < 0)
		return -1;
	describe(&vm, name, &snapshot);
	if (create(ctx, &vm, &snapshot, &cost, err) < 0)
		return error_wrap(err, "take snapshot '%s' of vm '%s'", name, vm_name);
	report_done(ctx);
	*out_snapshot = snapshot;
	snapshot = (Snapshot){ 0 };
	*out_cost = cost;
	return 0;
}
