#include "cli/commands_storage.h"
#include "cli/each.h"
#include "ops/optimize.h"
#include "util/json.h"

static void answer(App *app, const OptimizeReport *report)
{
	if (app->out.is_json) {
		json_t *doc = json_object();

		json_put_strv(doc, "vms", &report->vms);
		json_put_strv(doc, "images", &report->images);
		output_json_take(&app->out, doc);
		return;
	}
	for (size_t i = 0; i < report->vms.count; i++)
		output_message(&app->out, "Disk of VM '%s' optimized.", report->vms.items[i]);
	for (size_t i = 0; i < report->images.count; i++)
		output_message(&app->out, "Disk of image '%s' optimized.", report->images.items[i]);
	if (!report->vms.count && !report->images.count && app->exit_status == 0)
		output_message(&app->out, "Nothing to optimize.");
}

int cmd_storage_optimize(App *app, const Args *args, Error **err)
{
	CLEANUP(optimize_report_release) OptimizeReport report = { 0 };
	auto_each_failures EachFailures failures = { .app = app };

	if (ops_storage_optimize(&app->ctx, args->words, args->count, each_failed, &failures,
				 &report, err) < 0)
		return -1;
	answer(app, &report);
	return each_end(&failures, err);
}
