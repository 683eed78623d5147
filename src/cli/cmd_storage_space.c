/*
 * Commands about the store's size.
 */
#include "cli/commands_storage.h"
#include "cli/each.h"
#include "cli/figures.h"
#include "model/size.h"
#include "ops/space.h"
#include "util/json.h"
#include "util/mem.h"

int cmd_storage_grow(App *app, const Args *args, Error **err)
{
	const StorageGrowArgs *opt = args->options;
	auto_free char *size = size_text(opt->size_bytes);
	auto_free char *free_text = NULL;
	GrowReport report;
	bool has_grown;

	if (ops_storage_grow(&app->ctx, opt->size_bytes, &report, err) < 0)
		return -1;
	has_grown = report.after.total_bytes != report.before.total_bytes;
	if (app->out.is_json) {
		json_t *doc = json_object();

		json_put_string(doc, "storage", app->ctx.config.storage);
		json_put_string(doc, "status", has_grown ? "grown" : "unchanged");
		json_put_u64(doc, "size", opt->size_bytes);
		json_put_u64(doc, "before", report.before.total_bytes);
		json_put_u64(doc, "after", report.after.total_bytes);
		json_put_u64(doc, "free", report.after.free_bytes);
		output_json_take(&app->out, doc);
		return 0;
	}
	free_text = size_text(report.after.free_bytes);
	if (has_grown)
		output_message(&app->out, "The store has been grown to %s, %s of it free.", size,
			       free_text);
	else
		output_message(&app->out, "The store has %s already, %s of it free.", size,
			       free_text);
	return 0;
}

/* What others write meanwhile may be more than what was given back. */
static uint64_t freed_bytes(const TrimReport *report)
{
	if (report->before_bytes == STORAGE_UNKNOWN || report->after_bytes == STORAGE_UNKNOWN)
		return STORAGE_UNKNOWN;
	return report->before_bytes > report->after_bytes
		       ? report->before_bytes - report->after_bytes
		       : 0;
}

static void answer_json(App *app, const TrimReport *report)
{
	json_t *doc = json_object(), *vms = json_object(), *store = json_object();

	for (size_t i = 0; i < report->count; i++) {
		json_t *vm = json_object();

		json_put_u64(vm, "trimmed", report->vms[i].trimmed_bytes);
		json_put_take(vms, report->vms[i].name, vm);
	}
	json_put_string(store, "storage", app->ctx.config.storage);
	json_put_take(store, "before", figure_json(report->before_bytes));
	json_put_take(store, "after", figure_json(report->after_bytes));
	json_put_take(store, "freed", figure_json(freed_bytes(report)));
	json_put_take(doc, "vms", vms);
	json_put_take(doc, "store", store);
	output_json_take(&app->out, doc);
}

static void print_vms(App *app, const TrimReport *report)
{
	static const Column columns[] = { { "VM", "vm" }, { "TRIMMED", "trimmed" }, { 0 } };
	auto_table Table table = { 0 };

	if (!report->count)
		return;
	table_init(&table, columns);
	for (size_t i = 0; i < report->count; i++) {
		table_add_text(&table, report->vms[i].name);
		table_add_size(&table, report->vms[i].trimmed_bytes);
	}
	output_table(&app->out, &table, NULL);
	output_text(&app->out, "%s", "");
}

static void print_store(App *app, const TrimReport *report)
{
	static const Column columns[] = { { "STORE", "storage" },
					  { "BEFORE", "before" },
					  { "AFTER", "after" },
					  { "FREED", "freed" },
					  { 0 } };
	auto_table Table table = { 0 };

	table_init(&table, columns);
	table_add_text(&table, app->ctx.config.storage);
	figure_add(&table, report->before_bytes);
	figure_add(&table, report->after_bytes);
	figure_add(&table, freed_bytes(report));
	output_table(&app->out, &table, NULL);
}

int cmd_storage_trim(App *app, const Args *args, Error **err)
{
	auto_each_failures EachFailures failures = { .app = app, .is_warning = args->count == 0 };
	auto_trim_report TrimReport report = { 0 };

	if (ops_storage_trim(&app->ctx, args->words, args->count, each_failed, &failures, &report,
			     err) < 0)
		return -1;
	if (app->out.is_json) {
		answer_json(app, &report);
	} else {
		print_vms(app, &report);
		print_store(app, &report);
	}
	return each_end(&failures, err);
}
