#include "ops/usage.h"

#include <stdlib.h>
#include <string.h>

#include "backend/registry.h"
#include "model/size.h"
#include "ops/usage_known.h"
#include "util/mem.h"

void usage_report_release(UsageReport *report)
{
	for (size_t i = 0; i < report->count; i++) {
		free(report->rows[i].name);
		free(report->rows[i].owner);
	}
	free(report->rows);
	storage_usage_release(&report->pool);
	*report = (UsageReport){ 0 };
}

uint64_t usage_saved(uint64_t more, uint64_t less)
{
	if (more == STORAGE_UNKNOWN || less == STORAGE_UNKNOWN)
		return STORAGE_UNKNOWN;
	return more > less ? more - less : 0;
}

uint64_t usage_shared(const UsageFigures *figures)
{
	return usage_saved(figures->referenced, figures->exclusive);
}

uint64_t usage_sum(uint64_t one, uint64_t other)
{
	return one == STORAGE_UNKNOWN || other == STORAGE_UNKNOWN ? STORAGE_UNKNOWN : one + other;
}

static UsageFigures figures_of_volume(const VolumeUsage *volume)
{
	return (UsageFigures){ .provisioned = volume->provisioned_bytes,
			       .referenced = volume->referenced_bytes,
			       .exclusive = volume->exclusive_bytes,
			       .logical = volume->logical_bytes };
}

static void add_figures(UsageFigures *total, const UsageFigures *more)
{
	total->provisioned = usage_sum(total->provisioned, more->provisioned);
	total->referenced = usage_sum(total->referenced, more->referenced);
	total->exclusive = usage_sum(total->exclusive, more->exclusive);
	total->logical = usage_sum(total->logical, more->logical);
}

UsageFigures usage_of_all(const UsageReport *report)
{
	UsageFigures all = { 0 };

	for (size_t i = 0; i < report->pool.count; i++) {
		UsageFigures figures = figures_of_volume(&report->pool.items[i]);

		add_figures(&all, &figures);
	}
	return all;
}

static UsageFigures nothing_known(uint64_t provisioned)
{
	return (UsageFigures){ .provisioned = provisioned,
			       .referenced = STORAGE_UNKNOWN,
			       .exclusive = STORAGE_UNKNOWN,
			       .logical = STORAGE_UNKNOWN };
}

static int compare_volumes(const void *one, const void *other)
{
	const VolumeUsage *a = one, *b = other;

	return strcmp(a->volume, b->volume);
}

static int compare_name(const void *name, const void *item)
{
	const VolumeUsage *volume = item;

	return strcmp(name, volume->volume);
}

/* A store that cannot tell who uses what may still know how large it is. */
static int measure(Context *ctx, const Groups *groups, StorageUsage *out_usage, Error **err)
{
	StorageCapacity capacity;

	if (context_open_storage(ctx, err) < 0)
		return -1;
	if (ctx->storage->usage) {
		if (ctx->storage->usage(ctx->pool, groups->items, groups->count, out_usage, err) <
		    0)
			return -1;
		qsort(out_usage->items, out_usage->count, sizeof(*out_usage->items),
		      compare_volumes);
		return 0;
	}
	if (ctx->storage->capacity(ctx->pool, &capacity, err) < 0)
		return -1;
	*out_usage = (StorageUsage){ .capacity_bytes = capacity.total_bytes,
				     .allocated_bytes = STORAGE_UNKNOWN,
				     .reserved_bytes = STORAGE_UNKNOWN,
				     .logical_bytes = STORAGE_UNKNOWN,
				     .addressable_bytes = STORAGE_UNKNOWN,
				     .metadata_bytes = STORAGE_UNKNOWN };
	return 0;
}

/* What is known of the use of a volume. */
typedef struct Entry {
	bool is_named; /* in the report that is being made */
	bool is_owned; /* somebody named it, in whatever report */
	bool is_gone;  /* since it was counted */
} Entry;

/* The figures of the volumes and of the groups, and what became of them. */
typedef struct Ledger {
	StorageUsage usage;
	Groups groups;
	Entry *entries; /* of each volume */
} Ledger;

static void ledger_release(Ledger *ledger)
{
	storage_usage_release(&ledger->usage);
	groups_release(&ledger->groups);
	free(ledger->entries);
	*ledger = (Ledger){ 0 };
}

#define auto_ledger CLEANUP(ledger_release)

static int ledger_open(Context *ctx, const VmList *vms, const SnapshotList *snapshots,
		       Ledger *ledger, Error **err)
{
	groups_make(vms, snapshots, &ledger->groups);
	if (measure(ctx, &ledger->groups, &ledger->usage, err) < 0)
		return -1;
	ledger->entries = xcalloc(ledger->usage.count + 1, sizeof(*ledger->entries));
	return 0;
}

/* SIZE_MAX: it is not in the store. */
static size_t find_volume(const StorageUsage *usage, const char *volume)
{
	const VolumeUsage *found = NULL;

	if (usage->count)
		found = bsearch(volume, usage->items, usage->count, sizeof(*found), compare_name);
	return found ? (size_t)(found - usage->items) : SIZE_MAX;
}

static UsageFigures take_figures(Ledger *ledger, const char *volume, uint64_t provisioned)
{
	size_t index = find_volume(&ledger->usage, volume);

	if (index == SIZE_MAX)
		return nothing_known(provisioned);
	ledger->entries[index].is_named = ledger->entries[index].is_owned = true;
	return figures_of_volume(&ledger->usage.items[index]);
}

static UsageFigures figures_of_image(Ledger *ledger, const Image *image)
{
	if (!image->id)
		return nothing_known(STORAGE_UNKNOWN);
	return take_figures(ledger, image->id, image->size_bytes);
}

static UsageFigures figures_of_snapshot(Ledger *ledger, const Snapshot *snapshot)
{
	if (!snapshot->id)
		return nothing_known(STORAGE_UNKNOWN);
	return take_figures(ledger, snapshot->id, snapshot->disk_size_mib * MIB);
}

/* Its disk and its snapshots as one. A back end that does not count groups knows of each volume what it has to itself,
 * which is the VM's own as well; how much they have in common with each other it does not know. */
static UsageFigures join_figures(const Ledger *ledger, const Vm *vm, const UsageFigures *sum)
{
	size_t group = groups_find(&ledger->groups, vm->volume);
	const VolumeUsage *found;
	UsageFigures joined = *sum;

	joined.referenced = joined.logical = STORAGE_UNKNOWN;
	if (group == SIZE_MAX || !ledger->usage.groups)
		return joined;
	found = &ledger->usage.groups[group];
	if (sum->referenced ==
	    STORAGE_UNKNOWN) /* one of its volumes is missing, or cannot be counted */
		return joined;
	joined.referenced = found->referenced_bytes;
	joined.exclusive = found->exclusive_bytes;
	joined.logical = found->logical_bytes;
	return joined;
}

static UsageFigures figures_of_vm(Ledger *ledger, const Vm *vm, const SnapshotList *snapshots)
{
	UsageFigures sum;

	if (vm->state == VM_BROKEN)
		return nothing_known(STORAGE_UNKNOWN);
	sum = take_figures(ledger, vm->volume, vm->disk_size_mib * MIB);
	if (snapshots->count == 0)
		return sum;
	for (size_t i = 0; i < snapshots->count; i++) {
		UsageFigures more = figures_of_snapshot(ledger, &snapshots->items[i]);

		add_figures(&sum, &more);
	}
	return join_figures(ledger, vm, &sum);
}

static UsageRow *push(UsageReport *report, UsageKind kind, const char *name, UsageFigures figures)
{
	UsageRow *row;

	report->rows = xreallocarray(report->rows, report->count + 1, sizeof(*report->rows));
	row = &report->rows[report->count++];
	*row = (UsageRow){ .kind = kind, .name = xstrdup(name), .figures = figures };
	return row;
}

static void push_vm(UsageReport *report, Ledger *ledger, const Vm *vm,
		    const SnapshotList *snapshots)
{
	push(report, USAGE_VM, vm->name, figures_of_vm(ledger, vm, snapshots));
	for (size_t i = 0; i < snapshots->count; i++)
		push(report, USAGE_SNAPSHOT, snapshots->items[i].name,
		     figures_of_snapshot(ledger, &snapshots->items[i]));
}

/* Only what is in the store, and did not get into a list meanwhile. */
static void push_pending(UsageReport *report, Ledger *ledger, const Pending *pending)
{
	for (size_t i = 0; i < pending->volumes.count; i++) {
		const char *volume = pending->volumes.items[i];
		size_t index = find_volume(&ledger->usage, volume);

		if (index == SIZE_MAX || ledger->entries[index].is_named)
			continue;
		push(report, USAGE_PENDING, volume, take_figures(ledger, volume, STORAGE_UNKNOWN))
			->owner = xstrdup(pending->owners.items[i]);
	}
}

static void push_known(UsageReport *report, Ledger *ledger, const Known *known)
{
	for (size_t i = 0; i < ledger->usage.count; i++)
		ledger->entries[i].is_named = false;
	for (size_t i = 0; i < known->vms.count; i++)
		push_vm(report, ledger, &known->vms.items[i], &known->snapshots[i]);
	for (size_t i = 0; i < known->images.count; i++)
		push(report, USAGE_IMAGE, known->images.items[i].name,
		     figures_of_image(ledger, &known->images.items[i]));
	push_pending(report, ledger, &known->pending);
}

static bool is_orphan(const Ledger *ledger, size_t index)
{
	return !ledger->entries[index].is_owned && !ledger->entries[index].is_gone;
}

static bool has_orphans(const Ledger *ledger)
{
	for (size_t i = 0; i < ledger->usage.count; i++)
		if (is_orphan(ledger, i))
			return true;
	return false;
}

static void push_orphans(UsageReport *report, const Ledger *ledger)
{
	for (size_t i = 0; i < ledger->usage.count; i++)
		if (is_orphan(ledger, i))
			push(report, USAGE_ORPHAN, ledger->usage.items[i].volume,
			     figures_of_volume(&ledger->usage.items[i]));
}

/* A volume goes before its record does. */
static int forget_removed(Context *ctx, Ledger *ledger, Error **err)
{
	auto_strv Strv volumes = { 0 };

	if (ctx->storage->list(ctx->pool, &volumes, err) < 0)
		return -1;
	for (size_t i = 0; i < ledger->usage.count; i++)
		if (is_orphan(ledger, i))
			ledger->entries[i].is_gone =
				!strv_has(&volumes, ledger->usage.items[i].volume);
	return 0;
}

/* Without a lock the records of what was made or renamed meanwhile may not have been seen: for each volume that nobody
 * owns they are read again, twice. */
#define MORE_LOOKS 2

static int look(Context *ctx, Ledger *ledger, UsageReport *report, Error **err)
{
	auto_known Known known = { 0 };

	if (known_read(ctx, &known, err) < 0 ||
	    (!ledger->entries && ledger_open(ctx, &known.vms, known.snapshots, ledger, err) < 0))
		return -1;
	push_known(report, ledger, &known);
	return 0;
}

static int look_again(Context *ctx, Ledger *ledger, UsageReport *report, Error **err)
{
	auto_usage_report UsageReport newer = { 0 };

	if (forget_removed(ctx, ledger, err) < 0 || look(ctx, ledger, &newer, err) < 0)
		return -1;
	usage_report_release(report);
	*report = newer;
	newer = (UsageReport){ 0 };
	return 0;
}

int ops_usage(Context *ctx, UsageReport *out_report, Error **err)
{
	auto_usage_report UsageReport report = { 0 };
	auto_ledger Ledger ledger = { 0 };

	if (context_load(ctx, err) < 0 || look(ctx, &ledger, &report, err) < 0)
		return -1;
	for (int i = 0; i < MORE_LOOKS && has_orphans(&ledger); i++)
		if (look_again(ctx, &ledger, &report, err) < 0)
			return -1;
	push_orphans(&report, &ledger);
	report.pool = ledger.usage;
	ledger.usage = (StorageUsage){ 0 };
	report.storage = ctx->storage->name;
	*out_report = report;
	report = (UsageReport){ 0 };
	return 0;
}

void ops_usage_peek(Context *ctx, UsageReport *out_report)
{
	*out_report = (UsageReport){ 0 };
	if (context_has_store(ctx))
		(void)ops_usage(ctx, out_report, NULL);
}

UsageFigures usage_find(const UsageReport *report, UsageKind kind, const char *name)
{
	for (size_t i = 0; i < report->count; i++)
		if (report->rows[i].kind == kind && str_equal(report->rows[i].name, name))
			return report->rows[i].figures;
	return nothing_known(STORAGE_UNKNOWN);
}

uint64_t *ops_usage_of_vms(Context *ctx, const VmList *vms)
{
	uint64_t *exclusive = xcalloc(vms->count + 1, sizeof(*exclusive));
	auto_ledger Ledger ledger = { 0 };
	SnapshotList *snapshots = NULL;
	bool is_known = vms->count > 0 && context_has_store(ctx) &&
			known_read_snapshots(ctx, vms, &snapshots, NULL) == 0 &&
			ledger_open(ctx, vms, snapshots, &ledger, NULL) == 0;

	for (size_t i = 0; i < vms->count; i++)
		exclusive[i] =
			is_known ? figures_of_vm(&ledger, &vms->items[i], &snapshots[i]).exclusive
				 : STORAGE_UNKNOWN;
	known_release_snapshots(snapshots, vms->count);
	return exclusive;
}
