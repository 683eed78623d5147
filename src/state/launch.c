#include "state/launch.h"

#include <limits.h>

#include "util/json.h"
#include "util/mem.h"

/* Both documents carry it; a newer one is refused. */
#define LAUNCH_SCHEMA 1

/* The fields of a plan that are plain text: one list for both directions. */
static const struct {
	const char *key;
	size_t offset;
} plan_texts[] = {
	{ "vm_name", offsetof(LaunchPlan, vm_name) },
	{ "vm_id", offsetof(LaunchPlan, vm_id) },
	{ "driver", offsetof(LaunchPlan, driver) },
	{ "hypervisor", offsetof(LaunchPlan, hypervisor) },
	{ "accelerator", offsetof(LaunchPlan, accelerator) },
	{ "state_dir", offsetof(LaunchPlan, state_dir) },
	{ "vm_dir", offsetof(LaunchPlan, vm_dir) },
	{ "run_dir", offsetof(LaunchPlan, run_dir) },
	{ "control_socket", offsetof(LaunchPlan, control_socket) },
	{ "agent_socket", offsetof(LaunchPlan, agent_socket) },
	{ "keeper_socket", offsetof(LaunchPlan, keeper_socket) },
};

static char *const *plan_text(const LaunchPlan *plan, size_t index)
{
	return (char *const *)((const char *)plan + plan_texts[index].offset);
}

static char **plan_text_slot(LaunchPlan *plan, size_t index)
{
	return (char **)((char *)plan + plan_texts[index].offset);
}

static int check_schema(const json_t *doc, Error **err)
{
	uint64_t schema;

	if (json_get_u64(doc, "schema", INT_MAX, &schema, err) < 0)
		return -1;
	if (schema == LAUNCH_SCHEMA)
		return 0;
	error_set(err, ERR_UNSUPPORTED, "it has schema %d, this ember knows %d", (int)schema,
		  LAUNCH_SCHEMA);
	return error_hint(err, "use the version of ember that wrote it");
}

int launch_plan_write(const char *path, const LaunchPlan *plan, Error **err)
{
	json_auto_t *doc = json_object();

	json_put_u64(doc, "schema", LAUNCH_SCHEMA);
	for (size_t i = 0; i < ARRAY_SIZE(plan_texts); i++)
		json_put_string(doc, plan_texts[i].key, *plan_text(plan, i));
	json_put_strv(doc, "argv", &plan->argv);
	return json_write_file(path, doc, /* durable= */ false, err);
}

static int plan_from_json(const json_t *doc, LaunchPlan *plan, Error **err)
{
	if (check_schema(doc, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(plan_texts); i++)
		if (json_get_string(doc, plan_texts[i].key, plan_text_slot(plan, i), err) < 0)
			return -1;
	if (json_get_strv_opt(doc, "argv", &plan->argv, err) < 0)
		return -1;
	if (plan->argv.count == 0)
		return error_set(err, ERR_FAILED, "field 'argv' is empty");
	return 0;
}

int launch_plan_read(const char *path, LaunchPlan *out_plan, Error **err)
{
	auto_launch_plan LaunchPlan plan = { 0 };
	json_auto_t *doc = NULL;

	if (json_read_file(path, &doc, err) < 0)
		return -1;
	if (plan_from_json(doc, &plan, err) < 0)
		return error_wrap(err, "read launch plan '%s'", path);
	*out_plan = plan;
	plan = (LaunchPlan){ 0 };
	return 0;
}

int exit_report_write(const char *path, const ExitReport *report, Error **err)
{
	json_auto_t *doc = json_object();

	json_put_u64(doc, "schema", LAUNCH_SCHEMA);
	json_put_string(doc, "reason", report->reason);
	json_put_take(doc, "status", json_integer(report->status));
	json_put_string(doc, "at", report->at);
	return json_write_file(path, doc, /* durable= */ false, err);
}

static int exit_report_from_json(const json_t *doc, ExitReport *report, Error **err)
{
	const json_t *status = json_object_get(doc, "status");

	if (check_schema(doc, err) < 0 ||
	    json_get_string(doc, "reason", &report->reason, err) < 0 ||
	    json_get_string(doc, "at", &report->at, err) < 0)
		return -1;
	if (!json_is_integer(status) || json_integer_value(status) < -1 ||
	    json_integer_value(status) > 255)
		return error_set(err, ERR_FAILED, "field 'status' is not an exit status");
	report->status = (int)json_integer_value(status);
	return 0;
}

int exit_report_read(const char *path, ExitReport *out_report, Error **err)
{
	auto_exit_report ExitReport report = { 0 };
	json_auto_t *doc = NULL;

	if (json_read_file(path, &doc, err) < 0)
		return -1;
	if (exit_report_from_json(doc, &report, err) < 0)
		return error_wrap(err, "read exit report '%s'", path);
	*out_report = report;
	report = (ExitReport){ 0 };
	return 0;
}
