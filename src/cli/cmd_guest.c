/*
 * Commands that go into a guest.
 */
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "ops/guest.h"
#include "util/json.h"

#define MS_PER_S 1000

int cmd_exec(App *app, const Args *args, Error **err)
{
	const ExecArgs *opt = args->options;
	auto_strv Strv argv = { 0 };
	/* A terminal is read only when asked for: a command in a loop must not eat what is typed. */
	ExecOptions options = { .user = opt->user,
				.workdir = opt->workdir,
				.env = &opt->env,
				.argv = &argv,
				.connect_stdin = opt->interactive || !isatty(STDIN_FILENO),
				.wait_ms = opt->wait_s * MS_PER_S };

	for (size_t i = 1; i < args->count; i++)
		strv_push(&argv, args->words[i]);
	return ops_guest_exec(&app->ctx, args->words[0], &options, &app->exit_status, err);
}

int cmd_cp(App *app, const Args *args, Error **err)
{
	const char *source = args->words[0], *destination = args->words[1];
	uint64_t bytes = 0;

	if (ops_guest_copy(&app->ctx, source, destination, &bytes, err) < 0)
		return -1;
	/* With "-" stdout is the file. */
	if (app->out.is_json && strcmp(destination, "-") != 0) {
		json_t *doc = json_object();

		json_put_take(doc, "source", output_json_string(source));
		json_put_take(doc, "destination", output_json_string(destination));
		json_put_u64(doc, "bytes", bytes);
		output_json_take(&app->out, doc);
	}
	return 0;
}
