#include "cli/each.h"

#include "util/cancel.h"
#include "util/mem.h"

/* The first failure is kept for main() in JSON mode; in text every one is told at once. */
static void report(App *app, Error **problem, Error **first)
{
	int status = error_exit_status(error_code(*problem));

	if (app->exit_status == 0)
		app->exit_status = status;
	if (!app->out.is_json)
		output_error(&app->out, *problem, status);
	else if (!*first)
		error_move(first, problem);
	error_clear(problem);
}

/* Each answer carries the warnings of its own name. */
static void append(App *app, json_t *answers, json_t *doc)
{
	output_add_warnings(&app->out, doc);
	(void)json_array_append_new(answers, doc);
}

static int one_name(App *app, const char *name, EachFn fn, const void *arg, Error **err)
{
	json_t *doc = NULL;

	if (fn(app, name, arg, &doc, err) < 0)
		return -1;
	if (doc)
		output_json_take(&app->out, doc);
	return 0;
}

int each_name(App *app, const char *const *names, size_t count, bool is_array, EachFn fn,
	      const void *arg, Error **err)
{
	json_t *answers = json_array();
	auto_error first = NULL;

	if (count == 1 && !is_array) {
		json_decref(answers);
		return one_name(app, names[0], fn, arg, err);
	}
	for (size_t i = 0; i < count; i++) {
		auto_error problem = NULL;
		json_t *doc = NULL;

		if (cancel_check(first ? NULL : &first) < 0)
			break;
		if (fn(app, names[i], arg, &doc, &problem) < 0)
			report(app, &problem, &first);
		else if (doc)
			append(app, answers, doc);
	}
	output_json_take(&app->out, answers);
	if (!first)
		return 0;
	error_move(err, &first);
	return -1;
}

void each_failed(void *arg, const char *name UNUSED, Error *why)
{
	EachFailures *failures = arg;
	auto_error problem = why;

	if (failures->is_warning) {
		auto_free char *sentence = error_sentence(problem);

		output_warning(&failures->app->out, sentence);
		return;
	}
	report(failures->app, &problem, &failures->first);
}

void each_failures_release(EachFailures *failures)
{
	error_clear(&failures->first);
}

int each_end(EachFailures *failures, Error **err)
{
	if (!failures->first)
		return 0;
	error_move(err, &failures->first);
	return -1;
}
