/*
 * Commands about the installation as a whole.
 */
#include "cli/commands.h"
#include "model/size.h"
#include "ops/system.h"
#include "util/json.h"
#include "util/mem.h"

static void print_choice(App *app, const char *what, const char *name, const char *reason)
{
	if (name && reason)
		output_message(&app->out, "%-10s  %s (%s)", what, name, reason);
	else if (name)
		output_message(&app->out, "%-10s  %s", what, name);
}

int cmd_init(App *app, const Args *args, Error **err)
{
	const InitArgs *opt = args->options;
	InitOptions options = { .storage = opt->storage,
				.storage_path = opt->storage_path,
				.pool = opt->pool,
				.device = opt->device,
				.dataset = opt->dataset,
				.size_bytes = opt->size_bytes,
				.kernel = opt->kernel,
				.hypervisor = opt->hypervisor,
				.network = opt->network,
				.instance_id = opt->instance_id };
	CLEANUP(init_result_release) InitResult result = { 0 };
	const Config *config = &app->ctx.config;

	if (ops_init(&app->ctx, &options, &result, err) < 0)
		return -1;
	if (app->out.is_json) {
		json_t *doc = json_object();

		json_put_string(doc, "state_dir", app->ctx.store.dir);
		json_put_string(doc, "status", "initialized");
		json_put_string(doc, "storage", config->storage);
		json_put_string(doc, "storage_reason", result.storage_reason);
		json_put_string(doc, "hypervisor", config->hypervisor);
		json_put_string(doc, "hypervisor_reason", result.hypervisor_reason);
		json_put_string(doc, "network", config->network);
		json_put_string(doc, "network_reason", result.network_reason);
		json_put_bool(doc, "adopted", result.adopted);
		output_json_take(&app->out, doc);
		return 0;
	}
	print_choice(app, "storage", config->storage, result.storage_reason);
	print_choice(app, "hypervisor", config->hypervisor, result.hypervisor_reason);
	print_choice(app, "network", config->network, result.network_reason);
	if (result.adopted)
		output_message(&app->out,
			       "What an earlier installation left there is in use again.");
	output_message(&app->out, "'%s' initialized.", app->ctx.store.dir);
	return 0;
}

int cmd_deinit(App *app, const Args *args, Error **err)
{
	const DeinitArgs *opt = args->options;
	const char *status;
	bool was_initialized = false;

	if (ops_deinit(&app->ctx, opt->purge, &was_initialized, err) < 0)
		return -1;
	status = was_initialized ? "deinitialized" : "not initialized";
	if (app->out.is_json)
		output_json_take(&app->out, json_pack("{s:s, s:s}", "state_dir", app->ctx.store.dir,
						      "status", status));
	else if (was_initialized)
		output_message(&app->out, "'%s' deinitialized.", app->ctx.store.dir);
	else
		output_message(&app->out, "'%s' is not initialized: nothing to do.",
			       app->ctx.store.dir);
	return 0;
}

static const char *default_kernel(const Config *config)
{
	return config->kernel ? config->kernel : "stock";
}

static json_t *info_json(const Context *ctx, const SystemInfo *info)
{
	const Config *config = &ctx->config;
	json_t *doc = json_object(), *capacity = NULL;

	if (info->has_capacity) {
		capacity = json_object();
		json_put_u64(capacity, "total", info->capacity.total_bytes);
		json_put_u64(capacity, "free", info->capacity.free_bytes);
	}
	json_put_string(doc, "version", EMBER_VERSION);
	json_put_string(doc, "state_dir", ctx->store.dir);
	json_put_string(doc, "instance_id", config->instance_id);
	json_put_string(doc, "storage", config->storage);
	json_put_string(doc, "storage_path", config->storage_path);
	json_put_string(doc, "storage_pool", config->storage_pool);
	json_put_string(doc, "storage_dataset", config->storage_dataset);
	json_put_string(doc, "kernel", default_kernel(config));
	json_put_string(doc, "hypervisor", config->hypervisor);
	json_put_string(doc, "network", config->network);
	json_put_string(doc, "created_at", config->created_at);
	json_put_u64(doc, "images", info->images);
	json_put_u64(doc, "vms", info->vms);
	json_put_u64(doc, "vms_running", info->vms_running);
	json_put_take(doc, "capacity", capacity);
	return doc;
}

static char *capacity_text(const SystemInfo *info)
{
	auto_free char *free_text = size_text(info->capacity.free_bytes);
	auto_free char *total = size_text(info->capacity.total_bytes);

	return info->has_capacity ? xasprintf("%s free of %s", free_text, total) : NULL;
}

int cmd_info(App *app, const Args *args UNUSED, Error **err)
{
	const Config *config = &app->ctx.config;
	SystemInfo info = { 0 };

	if (ops_info(&app->ctx, &info, err) < 0)
		return -1;
	if (app->out.is_json) {
		output_json_take(&app->out, info_json(&app->ctx, &info));
		return 0;
	}
	Fact facts[] = {
		{ "Version", xstrdup(EMBER_VERSION) },
		{ "State directory", xstrdup(app->ctx.store.dir) },
		{ "Instance", xstrdup_null(config->instance_id) },
		{ "Storage", xstrdup_null(config->storage) },
		{ "Storage path", xstrdup_null(config->storage_path) },
		{ "Storage pool", xstrdup_null(config->storage_pool) },
		{ "Storage dataset", xstrdup_null(config->storage_dataset) },
		{ "Capacity", capacity_text(&info) },
		{ "Kernel", xstrdup(default_kernel(config)) },
		{ "Hypervisor", xstrdup_null(config->hypervisor) },
		{ "Network", xstrdup_null(config->network) },
		{ "VMs", xasprintf("%llu (%llu running)", (unsigned long long)info.vms,
				   (unsigned long long)info.vms_running) },
		{ "Images", xasprintf("%llu", (unsigned long long)info.images) },
		{ "Created", xstrdup_null(config->created_at) },
	};
	output_facts_take(&app->out, facts, ARRAY_SIZE(facts));
	return 0;
}

static void add_check(Table *table, const DoctorCheck *check)
{
	static const struct {
		const char *word;
		CellMood mood;
	} results[] = { [CHECK_PASS] = { "ok", MOOD_GOOD },
			[CHECK_WARN] = { "warn", MOOD_WARN },
			[CHECK_FAIL] = { "fail", MOOD_BAD } };

	table_add_text(table, check->name);
	table_add_mood(table, results[check->result].word, results[check->result].mood);
	table_add_text(table, check->finding);
}

static void print_mends(App *app, const DoctorReport *report)
{
	static const Column columns[] = { { "CHECK", "name" },
					  { "WHAT WOULD HELP", "mend" },
					  { 0 } };
	auto_table Table table = { 0 };

	table_init(&table, columns);
	for (size_t i = 0; i < report->count; i++) {
		const DoctorCheck *check = &report->items[i];

		if (check->result == CHECK_PASS || !check->mend)
			continue;
		table_add_text(&table, check->name);
		table_add_text(&table, check->mend);
	}
	if (table.cell_count == 0)
		return;
	output_text(&app->out, "%s", "");
	output_table(&app->out, &table, NULL);
}

int cmd_doctor(App *app, const Args *args UNUSED, Error **err)
{
	static const Column for_people[] = {
		{ "CHECK", "name" }, { "RESULT", "result" }, { "FINDING", "finding" }, { 0 }
	};
	static const Column for_json[] = { { "CHECK", "name" },
					   { "RESULT", "result" },
					   { "FINDING", "finding" },
					   { "MEND", "mend" },
					   { 0 } };
	CLEANUP(doctor_report_release) DoctorReport report = { 0 };
	auto_table Table table = { 0 };

	if (ops_doctor(&app->ctx, &report, err) < 0)
		return -1;
	table_init(&table, app->out.is_json ? for_json : for_people);
	for (size_t i = 0; i < report.count; i++) {
		add_check(&table, &report.items[i]);
		if (app->out.is_json)
			table_add_text(&table, report.items[i].mend);
		if (report.items[i].result == CHECK_FAIL)
			app->exit_status = error_exit_status(ERR_FAILED);
	}
	output_table(&app->out, &table, "checks");
	if (!app->out.is_json)
		print_mends(app, &report);
	return 0;
}

int cmd_reconcile(App *app, const Args *args, Error **err)
{
	const ReconcileArgs *opt = args->options;
	auto_strv Strv actions = { 0 };

	if (ops_reconcile(&app->ctx, opt->dry_run, &actions, err) < 0)
		return -1;
	if (app->out.is_json) {
		json_t *doc = json_object();

		json_put_strv(doc, "actions", &actions);
		json_put_bool(doc, "dry_run", opt->dry_run);
		output_json_take(&app->out, doc);
		return 0;
	}
	for (size_t i = 0; i < actions.count; i++)
		output_message(&app->out, "%s", actions.items[i]);
	if (actions.count == 0)
		output_message(&app->out, "Nothing to mend.");
	return 0;
}

int cmd_version(App *app, const Args *args UNUSED, Error **err UNUSED)
{
	if (app->out.is_json)
		output_json_take(&app->out, json_pack("{s:s}", "version", EMBER_VERSION));
	else
		output_text(&app->out, "ember %s", EMBER_VERSION);
	return 0;
}
