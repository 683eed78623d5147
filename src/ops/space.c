#include "ops/space.h"

#include "backend/registry.h"
#include "ops/guest_connect.h"
#include "ops/reconcile.h"
#include "ops/vm.h"
#include "state/records.h"
#include "util/cancel.h"
#include "util/failpoint.h"
#include "util/mem.h"

#define AGENT_MS 10000
/* A guest goes through its whole disk, a gibibyte at a time, and answers in between. */
#define TRIM_SILENCE_MS 30000

static int cannot_grow(const Context *ctx, Error **err)
{
	error_set(err, ERR_UNSUPPORTED,
		  "a %s store has no size of its own: it has the room that is around it",
		  ctx->config.storage);
	return error_hint(err, "see how much that is: df -h '%s'", ctx->store.dir);
}

/* `init` goes by the recorded size when the store's file is gone. */
static int record_size(Context *ctx, uint64_t size_bytes, Error **err)
{
	if (failpoint("storage.grow.record", err) < 0)
		return -1;
	ctx->config.storage_size_bytes = size_bytes;
	return store_write_config(&ctx->store, &ctx->config, err);
}

int ops_storage_grow(Context *ctx, uint64_t size_bytes, GrowReport *out_report, Error **err)
{
	auto_fd lock = -1;
	GrowReport report;

	if (change_begin(ctx, err) < 0)
		return -1;
	ctx->storage = storage_backend_find(ctx->config.storage, err);
	if (!ctx->storage)
		return -1;
	if (!ctx->storage->grow)
		return cannot_grow(ctx, err);
	if (store_lock_op(&ctx->store, "store", "grow", &lock, err) < 0 ||
	    context_open_storage(ctx, err) < 0 ||
	    ctx->storage->capacity(ctx->pool, &report.before, err) < 0)
		return -1;
	report_step(ctx, "grow the store");
	if (ctx->storage->grow(&ctx->site, size_bytes, err) < 0)
		return error_wrap(err, "grow the store");
	if (record_size(ctx, size_bytes, err) < 0 ||
	    ctx->storage->capacity(ctx->pool, &report.after, err) < 0)
		return -1;
	report_done(ctx);
	*out_report = report;
	return 0;
}

void trim_report_release(TrimReport *report)
{
	for (size_t i = 0; i < report->count; i++)
		free(report->vms[i].name);
	free(report->vms);
	*report = (TrimReport){ 0 };
}

static int trim_guest(Context *ctx, const char *name, uint64_t *out_bytes, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_client client = NULL;

	if (guest_connect(ctx, name, AGENT_MS, &vm, &client, err) < 0)
		return -1;
	report_step(ctx, "trim the disk of vm '%s'", name);
	if (client_trim(client, TRIM_SILENCE_MS, out_bytes, err) < 0) {
		error_hint(err, "see what it does: ember vm logs %s", name);
		return error_wrap(err, "vm '%s'", name);
	}
	report_done(ctx);
	return 0;
}

static int running_vms(Context *ctx, Strv *out_names, Error **err)
{
	auto_vm_list VmList vms = { 0 };

	if (records_list_vms(&ctx->store, &vms, err) < 0)
		return -1;
	for (size_t i = 0; i < vms.count; i++) {
		ops_vm_observe(&vms.items[i]);
		if (vms.items[i].state == VM_RUNNING)
			strv_push(out_names, vms.items[i].name);
	}
	return 0;
}

/* -1 only for Ctrl-C. */
static int trim_guests(Context *ctx, const Strv *names, TrimFailed failed, void *arg,
		       TrimReport *report, Error **err)
{
	for (size_t i = 0; i < names->count; i++) {
		const char *name = names->items[i];
		uint64_t bytes = 0;
		Error *why = NULL;

		if (cancel_check(err) < 0)
			return -1;
		if (trim_guest(ctx, name, &bytes, &why) < 0 && error_code(why) == ERR_CANCELED) {
			error_move(err, &why);
			return -1;
		}
		if (why) {
			failed(arg, name, why);
			continue;
		}
		report->vms = xreallocarray(report->vms, report->count + 1, sizeof(*report->vms));
		report->vms[report->count++] =
			(TrimmedVm){ .name = xstrdup(name), .trimmed_bytes = bytes };
	}
	return 0;
}

/* Where a store has nothing to trim itself, what it takes is what its volumes take. */
static uint64_t allocated_bytes(const Context *ctx)
{
	auto_storage_usage StorageUsage usage = { 0 };

	if (!ctx->storage->usage || ctx->storage->usage(ctx->pool, NULL, 0, &usage, NULL) < 0)
		return STORAGE_UNKNOWN;
	return usage.allocated_bytes;
}

static int trim_store(Context *ctx, TrimReport *report, Error **err)
{
	StorageTrim trim;

	if (!ctx->storage->trim) {
		report->after_bytes = allocated_bytes(ctx);
		return 0;
	}
	report_step(ctx, "trim the store");
	if (ctx->storage->trim(ctx->pool, &trim, err) < 0)
		return error_wrap(err, "trim the store");
	report_done(ctx);
	report->before_bytes = trim.before_bytes;
	report->after_bytes = trim.after_bytes;
	return 0;
}

int ops_storage_trim(Context *ctx, const char *const *names, size_t count, TrimFailed failed,
		     void *arg, TrimReport *out_report, Error **err)
{
	auto_trim_report TrimReport report = { 0 };
	auto_strv Strv wanted = { 0 };

	if (change_begin(ctx, err) < 0 || context_open_storage(ctx, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (!strv_has(&wanted, names[i]))
			strv_push(&wanted, names[i]);
	if (count == 0 && running_vms(ctx, &wanted, err) < 0)
		return -1;
	if (!ctx->storage->trim)
		report.before_bytes = allocated_bytes(ctx);
	if (trim_guests(ctx, &wanted, failed, arg, &report, err) < 0 ||
	    trim_store(ctx, &report, err) < 0)
		return -1;
	*out_report = report;
	report = (TrimReport){ 0 };
	return 0;
}
