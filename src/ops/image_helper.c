#include "ops/image_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "util/fs.h"
#include "util/mem.h"

#define LOG_MAX (16U << 20)

/* What it tells us, line by line. */
typedef struct Lines {
	Context *ctx;
	uint64_t total_bytes;
	bool is_beside; /* another one's progress is shown */
	json_t *result;
	Error *failure;
	char *bad_blob; /* whose fault it is; NULL: no blob's */
} Lines;

static void lines_release(Lines *lines)
{
	json_decref(lines->result);
	error_free(lines->failure);
	free(lines->bad_blob);
}

static void take_error(Lines *lines, const json_t *event)
{
	auto_free char *code = NULL;
	auto_free char *message = NULL;
	auto_free char *hint = NULL;

	if (lines->failure)
		return;
	(void)json_get_string_opt(event, "code", &code, NULL);
	(void)json_get_string_opt(event, "message", &message, NULL);
	(void)json_get_string_opt(event, "hint", &hint, NULL);
	error_set(&lines->failure, error_code_from_word(code), "%s",
		  message ? str_make_printable(message) : "ember-image failed without a word");
	if (hint)
		error_hint(&lines->failure, "%s", str_make_printable(hint));
	(void)json_get_string_opt(event, "blob", &lines->bad_blob, NULL);
}

static void take_progress(const Lines *lines, const json_t *event)
{
	uint64_t done = 0, total = 0;

	(void)json_get_u64_opt(event, "bytes", INT64_MAX, &done, NULL);
	(void)json_get_u64_opt(event, "total", INT64_MAX, &total, NULL);
	if (!total && done <= lines->total_bytes)
		total = lines->total_bytes;
	report_bytes(lines->ctx, done, total);
}

static void on_line(const char *line, void *arg)
{
	Lines *lines = arg;
	json_auto_t *event = NULL;
	auto_free char *kind = NULL;

	if (json_parse_text(line, strlen(line), &event, NULL) < 0 ||
	    json_get_string(event, "event", &kind, NULL) < 0)
		return;
	if (!strcmp(kind, "progress")) {
		if (!lines->is_beside)
			take_progress(lines, event);
	} else if (!strcmp(kind, "warning")) {
		auto_free char *message = NULL;

		if (json_get_string(event, "message", &message, NULL) == 0)
			report_warning(lines->ctx, "%s", str_make_printable(message));
	} else if (!strcmp(kind, "error")) {
		take_error(lines, event);
	} else if (!strcmp(kind, "result") && !lines->result && !lines->failure) {
		lines->result = json_incref(event);
	}
}

int image_helper_init(Command *cmd, Error **err)
{
	auto_free char *program = NULL;

	if (context_helper("ember-image", &program, err) < 0)
		return -1;
	command_init(cmd, program, NULL);
	cmd->is_tied = true;
	return 0;
}

int image_confined_init(Command *cmd, const char *program, Error **err)
{
	auto_free char *path = program_find(program);

	if (!path) {
		auto_free char *hint = program_install_hint(program);

		error_set(err, ERR_MISSING_TOOL, "'%s' is not installed", program);
		return error_hint(err, "%s", hint);
	}
	if (image_helper_init(cmd, err) < 0)
		return -1;
	command_add(cmd, "confined");
	command_add(cmd, path);
	return 0;
}

int image_helper_run(Context *ctx, const Command *cmd, uint64_t total_bytes, json_t **out_result,
		     char **out_bad_blob, Error **err)
{
	CLEANUP(lines_release) Lines lines = { .ctx = ctx, .total_bytes = total_bytes };
	/* Its words are borrowed: what listens to it lives no longer than this call. */
	Command listening = *cmd;
	int result;

	listening.on_line = on_line;
	listening.on_line_arg = &lines;
	result = command_run(&listening, DEADLINE_NEVER, err);
	/* Its own words are better than "exit status 1", except when it was interrupted by us. */
	if (lines.failure && (result == 0 || error_code(err ? *err : NULL) != ERR_CANCELED)) {
		if (err)
			error_clear(err);
		error_move(err, &lines.failure);
		if (out_bad_blob)
			*out_bad_blob = steal(&lines.bad_blob);
		return -1;
	}
	if (result < 0)
		return -1;
	if (!lines.result)
		return error_set(err, ERR_FAILED, "ember-image ended without a result");
	*out_result = lines.result;
	lines.result = NULL;
	return 0;
}

int image_helper_spawn(Command *cmd, const char *log, pid_t *out_pid, Error **err)
{
	auto_fd fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_set_errno(err, errno, "make '%s'", log);
	cmd->stdout_fd = fd;
	return command_spawn(cmd, out_pid, err);
}

static int read_log(Lines *lines, const char *log, Error **err)
{
	auto_free char *text = NULL;
	char *rest;

	if (fs_read(log, LOG_MAX, &text, NULL, err) < 0)
		return -1;
	rest = text;
	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
		on_line(line, lines);
	return 0;
}

int image_helper_finish(Context *ctx, pid_t pid, const char *log, bool stop_it, Error **err)
{
	CLEANUP(lines_release) Lines lines = { .ctx = ctx, .is_beside = true };
	ProcEnd end = { .pid = pid, .signum = stop_it ? SIGTERM : 0 };
	int status = proc_end(&end);

	if (read_log(&lines, log, err) < 0)
		return -1;
	if (lines.failure && error_code(lines.failure) != ERR_CANCELED) {
		error_move(err, &lines.failure);
		return -1;
	}
	if (stop_it)
		return 0;
	if (lines.result && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return error_set(err, ERR_FAILED, "ember-image ended without a result");
}
