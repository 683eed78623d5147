/*
 * Commands about the store.
 */
#include "cli/commands_storage.h"
#include "cli/figures.h"
#include "util/json.h"
#include "util/mem.h"

static void add_ratio(Table *table, uint64_t logical, uint64_t physical)
{
	auto_free char *text = NULL;

	if (logical != STORAGE_UNKNOWN && physical != STORAGE_UNKNOWN && physical > 0)
		text = xasprintf("%.2fx", (double)logical / (double)physical);
	table_add_text(table, text);
}

static void print_pool(App *app, const UsageReport *report)
{
	static const Column columns[] = {
		{ "POOL", "pool" },	      { "CAPACITY", "capacity" },
		{ "ALLOCATED", "allocated" }, { "RESERVED", "reserved" },
		{ "LOGICAL", "logical" },     { "ADDRESSABLE", "addressable" },
		{ "METADATA", "metadata" },   { 0 }
	};
	auto_table Table table = { 0 };

	table_init(&table, columns);
	table_add_text(&table, report->storage);
	figure_add(&table, report->pool.capacity_bytes);
	figure_add(&table, report->pool.allocated_bytes);
	figure_add(&table, report->pool.reserved_bytes);
	figure_add(&table, report->pool.logical_bytes);
	figure_add(&table, report->pool.addressable_bytes);
	figure_add(&table, report->pool.metadata_bytes);
	output_table(&app->out, &table, NULL);
}

static void add_row(Table *table, const UsageRow *row)
{
	const UsageFigures *figures = &row->figures;

	auto_free char *name = row->owner ? xasprintf("%s (%s)", row->name, row->owner)
			       : row->kind == USAGE_SNAPSHOT ? xasprintf("  @%s", row->name)
							     : xstrdup(row->name);

	table_add_text(table, name);
	figure_add(table, figures->provisioned);
	figure_add(table, figures->referenced);
	figure_add(table, figures->exclusive);
	figure_add(table, usage_shared(figures));
	add_ratio(table, figures->logical, figures->referenced);
}

/* The rows of these kinds under a title; none, nothing. */
static void print_rows(App *app, const UsageReport *report, unsigned kinds, const char *title)
{
	const Column columns[] = { { title, "name" },
				   { "PROVISIONED", "provisioned" },
				   { "REFERENCED", "referenced" },
				   { "EXCLUSIVE", "exclusive" },
				   { "SHARED", "shared" },
				   { "COMPRESSION", "compression" },
				   { 0 } };
	auto_table Table table = { 0 };

	table_init(&table, columns);
	for (size_t i = 0; i < report->count; i++)
		if (kinds & (1U << report->rows[i].kind))
			add_row(&table, &report->rows[i]);
	if (table.cell_count == 0)
		return;
	output_text(&app->out, "%s", "");
	output_table(&app->out, &table, NULL);
}

static void print_all_rows(App *app, const UsageReport *report)
{
	print_rows(app, report, 1U << USAGE_VM | 1U << USAGE_SNAPSHOT, "VMS");
	print_rows(app, report, 1U << USAGE_IMAGE, "IMAGES");
	print_rows(app, report, 1U << USAGE_PENDING, "PENDING");
	print_rows(app, report, 1U << USAGE_ORPHAN, "ORPHANS");
}

static json_t *pool_json(const UsageReport *report)
{
	const StorageUsage *pool = &report->pool;
	json_t *doc = json_object();

	json_put_take(doc, "storage", json_string(report->storage));
	json_put_take(doc, "capacity", figure_json(pool->capacity_bytes));
	json_put_take(doc, "allocated", figure_json(pool->allocated_bytes));
	json_put_take(doc, "reserved", figure_json(pool->reserved_bytes));
	json_put_take(doc, "logical", figure_json(pool->logical_bytes));
	json_put_take(doc, "addressable", figure_json(pool->addressable_bytes));
	json_put_take(doc, "metadata", figure_json(pool->metadata_bytes));
	return doc;
}

static json_t *report_json(const UsageReport *report)
{
	static const char *const keys[] = { [USAGE_VM] = "vms",
					    [USAGE_IMAGE] = "images",
					    [USAGE_PENDING] = "pending",
					    [USAGE_ORPHAN] = "orphans" };
	json_t *doc = json_object();
	json_t *snapshots = NULL;

	json_put_take(doc, "pool", pool_json(report));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i])
			json_put_take(doc, keys[i], json_object());
	for (size_t i = 0; i < report->count; i++) {
		const UsageRow *row = &report->rows[i];
		json_t *item = figures_json(&row->figures);

		if (row->kind == USAGE_SNAPSHOT) {
			json_put_take(snapshots, row->name, item);
			continue;
		}
		if (row->owner)
			json_put_take(item, "owner", output_json_string(row->owner));
		if (row->kind == USAGE_VM) {
			snapshots = json_object();
			json_put_take(item, "snapshots", snapshots);
		}
		json_put_take(json_object_get(doc, keys[row->kind]), row->name, item);
	}
	return doc;
}

int cmd_storage_usage(App *app, const Args *args UNUSED, Error **err)
{
	auto_usage_report UsageReport report = { 0 };

	if (ops_usage(&app->ctx, &report, err) < 0)
		return -1;
	if (app->out.is_json) {
		output_json_take(&app->out, report_json(&report));
		return 0;
	}
	print_pool(app, &report);
	print_all_rows(app, &report);
	return 0;
}

/* "33.4 GiB (20.6x)": what `less` takes less than `more`; owned. */
static char *saved_text(uint64_t more, uint64_t less)
{
	auto_free char *text = figure_text(usage_saved(more, less));

	if (!text || less == 0)
		return steal(&text);
	return xasprintf("%s (%.1fx)", text, (double)more / (double)less);
}

static json_t *efficiency_json(const UsageFigures *all, uint64_t allocated)
{
	json_t *doc = figures_json(all);

	(void)json_object_del(doc, "exclusive");
	(void)json_object_del(doc, "shared");
	json_put_take(doc, "allocated", figure_json(allocated));
	json_put_take(doc, "saved_by_holes",
		      figure_json(usage_saved(all->provisioned, all->logical)));
	json_put_take(doc, "saved_by_compression",
		      figure_json(usage_saved(all->logical, all->referenced)));
	json_put_take(doc, "saved_by_sharing",
		      figure_json(usage_saved(all->referenced, allocated)));
	return doc;
}

static void print_efficiency(App *app, const UsageReport *report, const UsageFigures *all)
{
	uint64_t allocated = report->pool.allocated_bytes;
	Fact facts[] = {
		{ "Store", xstrdup(report->storage) },
		{ "Guests see", figure_text(all->provisioned) },
		{ "Guests reach", figure_text(all->referenced) },
		{ "Stored", figure_text(allocated) },
		{ "Metadata", figure_text(report->pool.metadata_bytes) },
		{ "Saved by holes", saved_text(all->provisioned, all->logical) },
		{ "Saved by compression", saved_text(all->logical, all->referenced) },
		{ "Saved by sharing", saved_text(all->referenced, allocated) },
		{ "Saved in all", saved_text(all->provisioned, allocated) },
	};

	output_facts_take(&app->out, facts, ARRAY_SIZE(facts));
}

int cmd_debug_storage_efficiency(App *app, const Args *args UNUSED, Error **err)
{
	auto_usage_report UsageReport report = { 0 };
	UsageFigures all;
	json_t *doc;

	if (ops_usage(&app->ctx, &report, err) < 0)
		return -1;
	all = usage_of_all(&report);
	if (app->out.is_json) {
		doc = report_json(&report);
		json_put_take(doc, "efficiency",
			      efficiency_json(&all, report.pool.allocated_bytes));
		output_json_take(&app->out, doc);
		return 0;
	}
	print_efficiency(app, &report, &all);
	print_all_rows(app, &report);
	return 0;
}
