/*
 * ember: from a command line to one command, and from its Error to the exit status.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/help.h"
#include "util/cancel.h"
#include "util/mem.h"

/* A closed stdin, stdout or stderr would become the number of the next file that is opened, and
 * messages would land in it. Writing to what stands in for stdout fails, as it should. */
static void claim_standard_fds(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
}

static int exit_status_of(const Error *err, const Cmd *cmd)
{
	if ((cmd->flags & CMD_GUEST_STATUS) && error_code(err) != ERR_CANCELED)
		return EXIT_OWN_FAILURE;
	return error_exit_status(error_code(err));
}

/* For errors in the command line itself, which may come before or after --format. */
static bool wants_json(const char *const *argv, const Globals *globals)
{
	const char *format = globals->format ? globals->format : getenv("EMBER_FORMAT");

	for (size_t i = 1; argv[i] && !globals->format && strcmp(argv[i], "--") != 0; i++) {
		if (!strcmp(argv[i], "--format=json"))
			return true;
		if (!strcmp(argv[i], "--format"))
			format = argv[i + 1];
	}
	return str_equal(format, "json");
}

/* What the environment and the global options say together. */
static int settle_globals(Invocation *invocation, Error **err)
{
	Globals *globals = &invocation->globals;
	const char *format = getenv("EMBER_FORMAT");
	const Option *option = option_find_name(global_options, "format", strlen("format"));

	if (!globals->format && !str_is_empty(format) &&
	    option_set_value(&invocation->sets[1], option, "EMBER_FORMAT", format, err) < 0)
		return -1;
	if (globals->quiet && globals->verbose) {
		error_set(err, ERR_USAGE, "--quiet and --verbose exclude each other");
		return error_hint(err, "leave one of them out");
	}
	return 0;
}

static void on_step(void *arg, const char *text)
{
	Output *out = arg;

	progress_step(out->progress, text);
}

static void on_bytes(void *arg, uint64_t done, uint64_t total)
{
	Output *out = arg;

	progress_bytes(out->progress, done, total);
}

static void on_warning(void *arg, const char *text)
{
	output_warning(arg, text);
}

static bool on_program_line(void *arg, const char *text)
{
	return output_program_line(arg, text);
}

static void on_retitle(void *arg, const char *text)
{
	Output *out = arg;

	progress_retitle(out->progress, text);
}

static int missing_command(App *app, const Invocation *invocation, Error **err)
{
	auto_free char *path = cmd_path_text(invocation);

	if (!app->out.is_json) {
		help_show(app, invocation);
		app->exit_status = error_exit_status(ERR_USAGE);
		return 0;
	}
	error_set(err, ERR_USAGE, "%s needs a command", path);
	return error_hint(err, "%s --help lists the commands", path);
}

static int dispatch(App *app, const Invocation *invocation, Error **err)
{
	const Cmd *cmd = invocation->cmd;

	if (invocation->globals.help) {
		help_show(app, invocation);
		return 0;
	}
	if (invocation->globals.version)
		return cmd_version(app, &invocation->args, err);
	if (!cmd->run)
		return missing_command(app, invocation, err);
	if (cmd_check_words(invocation, err) < 0)
		return -1;
	app->ctx.reporter = (Reporter){ &app->out,  output_is_watched(&app->out),
					on_step,    on_bytes,
					on_warning, on_program_line,
					on_retitle };
	if ((cmd->flags & CMD_STATE) &&
	    context_init(&app->ctx, invocation->globals.state_dir, err) < 0)
		return -1;
	return cmd->run(app, &invocation->args, err);
}

/* When the command line was not understood, `err` says why, and all that is left is to print it. */
static int run(const Invocation *invocation, bool is_understood, bool is_json, Error **err)
{
	const Globals *globals = &invocation->globals;
	App app = { 0 };

	output_init(&app.out, &(OutputOptions){ .is_json = is_json,
						.is_quiet = globals->quiet,
						.is_verbose = globals->verbose,
						.no_color = globals->no_color });
	if (!is_understood || dispatch(&app, invocation, err) < 0) {
		/* What had failed before an interruption is not what ended the command. */
		if (!app.exit_status || error_code(*err) == ERR_CANCELED)
			app.exit_status = exit_status_of(*err, invocation->cmd);
		output_error(&app.out, *err, app.exit_status);
	}
	context_release(&app.ctx);
	app.exit_status = output_finish(&app.out, app.exit_status);
	output_release(&app.out);
	return app.exit_status;
}

int main(int argc UNUSED, char **argv)
{
	const char *const *words = (const char *const *)argv;
	Invocation invocation;
	auto_error err = NULL;
	bool is_understood;
	bool is_json;
	int status;

	claim_standard_fds();
	cancel_install();
	is_understood = cmd_parse(&root_cmd, global_options, words, &invocation, &err) == 0 &&
			settle_globals(&invocation, &err) == 0;
	is_json = is_understood ? str_equal(invocation.globals.format, "json")
				: wants_json(words, &invocation.globals);
	status = run(&invocation, is_understood, is_json, &err);
	cmd_release(&invocation);
	return status;
}
