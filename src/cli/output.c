#include "cli/output.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cli/plain.h"
#include "util/cancel.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"

static bool is_capable_terminal(int fd)
{
	const char *term = getenv("TERM");

	return isatty(fd) && !str_is_empty(term) && strcmp(term, "dumb") != 0;
}

void output_init(Output *out, const OutputOptions *options)
{
	bool may_color = !options->no_color && str_is_empty(getenv("NO_COLOR"));
	bool is_terminal = is_capable_terminal(STDERR_FILENO);

	*out = (Output){ .is_json = options->is_json, .is_quiet = options->is_quiet };
	out->colors_stdout = may_color && is_capable_terminal(STDOUT_FILENO);
	out->colors_stderr = may_color && is_terminal;
	if (!options->is_json && !options->is_quiet && (is_terminal || options->is_verbose))
		out->progress = progress_new(STDERR_FILENO, is_terminal, options->is_verbose);
}

bool output_is_watched(const Output *out)
{
	return out->progress && isatty(STDERR_FILENO);
}

void output_release(Output *out)
{
	progress_free(out->progress);
	strv_release(&out->warnings);
	*out = (Output){ 0 };
}

/* Print on stdout at once: what follows may take long, or write to stderr. */
static void print_lines(Output *out, const char *text)
{
	progress_pause(out->progress);
	(void)fputs(text, stdout);
	(void)fputc('\n', stdout);
	(void)fflush(stdout);
	progress_resume(out->progress);
}

void output_message(Output *out, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list args;

	if (out->is_json || out->is_quiet)
		return;
	va_start(args, fmt);
	text = xvasprintf(fmt, args);
	va_end(args);
	print_lines(out, str_make_printable(text));
}

void output_text(Output *out, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list args;

	if (out->is_json)
		return;
	va_start(args, fmt);
	text = xvasprintf(fmt, args);
	va_end(args);
	print_lines(out, text);
}

void output_stream_text(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vprintf(fmt, args);
	va_end(args);
	(void)fputc('\n', stdout);
}

json_t *output_json_string(const char *text)
{
	json_t *value = text ? json_string(text) : json_null();
	auto_free char *printable = NULL;

	if (value)
		return value;
	/* Not UTF-8: what is left of it is better than nothing. */
	printable = str_make_printable(xstrdup(text));
	return json_string(printable);
}

void output_add_warnings(Output *out, json_t *doc)
{
	json_t *list;

	if (out->warnings.count == 0 || !json_is_object(doc))
		return;
	list = json_array();
	for (size_t i = 0; i < out->warnings.count; i++)
		(void)json_array_append_new(list, output_json_string(out->warnings.items[i]));
	strv_release(&out->warnings);
	json_put_take(doc, "warnings", list);
}

static void write_json(const json_t *doc, size_t flags)
{
	(void)json_dumpf(doc, stdout, flags | JSON_ENCODE_ANY);
}

void output_json_take(Output *out, json_t *doc)
{
	/* People read it on a terminal, programs by the line. */
	size_t flags = isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT;

	if (out->is_json) {
		output_add_warnings(out, doc);
		write_json(doc, flags);
		(void)fputc('\n', stdout);
		(void)fflush(stdout);
	}
	json_decref(doc);
}

void output_table(Output *out, const Table *table, const char *key)
{
	if (!out->is_json) {
		progress_pause(out->progress);
		table_print(table, stdout, out->colors_stdout);
		progress_resume(out->progress);
	} else if (key) {
		json_t *doc = json_object();

		json_put_take(doc, key, table_to_json(table));
		output_json_take(out, doc);
	} else {
		output_json_take(out, table_to_json(table));
	}
}

void output_facts_take(Output *out, Fact *facts, size_t count)
{
	int width = 0;

	for (size_t i = 0; i < count; i++)
		width = (int)strlen(facts[i].title) > width ? (int)strlen(facts[i].title) : width;
	for (size_t i = 0; i < count; i++) {
		auto_free char *title = xasprintf("%s:", facts[i].title);
		auto_free char *value = steal(&facts[i].value);

		if (!out->is_json)
			(void)printf("%-*s  %s\n", width + 1, title,
				     str_is_empty(value) ? "-" : str_make_printable(value));
	}
}

bool output_can_ask(const Output *out)
{
	return !out->is_json && !out->is_quiet && isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

int output_ask(Output *out, Error **err, const char *fmt, ...)
{
	auto_free char *question = NULL;
	char answer[16] = { 0 };
	va_list args;
	ssize_t got;

	va_start(args, fmt);
	question = xvasprintf(fmt, args);
	va_end(args);
	progress_pause(out->progress);
	(void)fprintf(stderr, "%s [y/N] ", str_make_printable(question));
	/* Ctrl-C ends the wait, since no read is taken up again (cancel.h). */
	got = read(STDIN_FILENO, answer, sizeof(answer) - 1);
	if (got <= 0)
		(void)fputc('\n', stderr);
	progress_resume(out->progress);
	if (cancel_check(err) < 0)
		return -1;
	answer[strcspn(answer, "\n")] = '\0';
	return !strcasecmp(answer, "y") || !strcasecmp(answer, "yes");
}

void output_list_begin(Output *out)
{
	if (out->is_json)
		(void)fputc('[', stdout);
}

void output_list_item_take(Output *out, json_t *item, bool is_first)
{
	if (out->is_json) {
		if (!is_first)
			(void)fputs(",\n", stdout);
		write_json(item, JSON_COMPACT);
	}
	json_decref(item);
}

void output_list_end(Output *out)
{
	if (out->is_json)
		(void)fputs("]\n", stdout);
}

/* "word: text" on stderr; further lines of the text are indented. */
static void print_labeled(const char *label, const char *color, const char *text)
{
	auto_free char *printable = str_make_printable(xstrdup(text));

	(void)fprintf(stderr, "%s%s:%s %s\n", color, label, *color ? "\033[0m" : "", printable);
}

static void print_warning(Output *out, const char *text)
{
	progress_pause(out->progress);
	print_labeled("warning", out->colors_stderr ? "\033[33m" : "", text);
	progress_resume(out->progress);
}

void output_warning(Output *out, const char *text)
{
	if (out->is_json)
		strv_push(&out->warnings, text);
	else
		print_warning(out, text);
}

bool output_program_line(Output *out, const char *text)
{
	auto_strbuf Strbuf plain = { 0 };
	PlainState state = PLAIN_TEXT;
	size_t len = strlen(text);
	const char *last;

	if (out->is_json || out->is_quiet)
		return false;
	while (len && text[len - 1] == '\r')
		len--;
	last = memrchr(text, '\r', len);
	if (last) {
		len -= (size_t)(last + 1 - text);
		text = last + 1;
	}
	plain_filter(&state, text, len, &plain);
	progress_pause(out->progress);
	(void)fprintf(stderr, "%s\n", strbuf_str(&plain));
	progress_resume(out->progress);
	return true;
}

/* Evidence (the tail of a program's stderr, or of a guest's console), line by line. */
static void print_detail(const char *detail)
{
	auto_strbuf Strbuf text = { 0 };
	PlainState state = PLAIN_TEXT;
	char *rest;

	plain_filter(&state, detail, strlen(detail), &text);
	rest = text.text;
	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
		if (*line)
			(void)fprintf(stderr, "  %s\n", str_make_printable(line));
}

/* Every error tells what to type next; these stand in where nobody knew better. */
static const char *general_hint(ErrorCode code)
{
	switch (code) {
	case ERR_USAGE:
		return "ember help COMMAND shows how it is used";
	case ERR_NOT_FOUND:
		return "check the spelling; ember vm list and ember image list show what ember has";
	case ERR_EXISTS:
		return "choose another name or place, or remove what is there";
	case ERR_STATE:
		return "ember vm list shows the state of every VM";
	case ERR_BUSY:
	case ERR_TIMEOUT:
		return "wait a little and run the command again";
	case ERR_DENIED:
		return "check the owner and mode of the file, or run the command as root";
	case ERR_CANCELED:
		return "run the command again when ready";
	case ERR_FAILED:
	case ERR_UNSUPPORTED:
	case ERR_MISSING_TOOL:
	case ERR_CODES:
		break;
	}
	return "ember doctor looks for what this host lacks";
}

/* What the system said of a path: how to look at it there. Owned; NULL: it said nothing of the kind. */
static char *path_hint(const Error *err)
{
	const char *text = error_text(err);
	const char *begin = strchr(text, '\'');
	const char *end = begin ? strchr(begin + 1, '\'') : NULL;
	auto_free char *path = end ? xstrndup(begin + 1, (size_t)(end - begin) - 1) : NULL;
	auto_free char *dir = path ? path_dirname(path) : NULL;

	if (!path)
		return NULL;
	if (str_ends_with(text, strerror(ENOENT)))
		return xasprintf("see what is there: ls -l '%s'", dir);
	if (str_ends_with(text, strerror(EROFS)))
		return xasprintf("see how it is mounted: findmnt -T '%s'", dir);
	return NULL;
}

static void print_error(const Error *err, bool is_colored)
{
	auto_free char *sentence = error_sentence(err);
	auto_free char *of_path = path_hint(err);
	const char *hint = error_hint_text(err) ? error_hint_text(err) : of_path;

	print_labeled("ember", is_colored ? "\033[1;31m" : "", sentence);
	if (error_detail_text(err))
		print_detail(error_detail_text(err));
	print_labeled("hint", is_colored ? "\033[36m" : "",
		      hint ? hint : general_hint(error_code(err)));
}

static json_t *error_json(const Error *err, int exit_status)
{
	json_t *body = json_object(), *context = json_array();

	for (size_t i = 0; i < error_context_count(err); i++)
		(void)json_array_append_new(context, output_json_string(error_context(err, i)));
	json_put_string(body, "code", error_code_word(error_code(err)));
	json_put_u64(body, "exit", (uint64_t)exit_status);
	json_put_take(body, "message", output_json_string(error_text(err)));
	json_put_take(body, "context", context);
	json_put_take(body, "hint", output_json_string(error_hint_text(err)));
	if (error_detail_text(err))
		json_put_take(body, "detail", output_json_string(error_detail_text(err)));
	return body;
}

void output_error(Output *out, const Error *err, int exit_status)
{
	progress_abandon(out->progress);
	(void)fflush(stdout);
	if (out->is_json) {
		json_t *doc = json_object();

		json_put_take(doc, "error", error_json(err, exit_status));
		output_add_warnings(out, doc);
		write_json(doc, JSON_COMPACT); /* one line, also on a terminal */
		(void)fputc('\n', stdout);
		json_decref(doc);
	} else {
		print_error(err, out->colors_stderr);
	}
}

/* A pipe whose reader has gone shows an error, whatever became of errno meanwhile (poll(2)). */
static bool reader_is_gone(void)
{
	struct pollfd pipe_end = { .fd = STDOUT_FILENO };

	return poll(&pipe_end, 1, 0) > 0 && (pipe_end.revents & POLLERR);
}

int output_finish(Output *out, int exit_status)
{
	auto_error err = NULL;

	progress_abandon(out->progress);
	/* Streams have no result that could carry them. */
	for (size_t i = 0; i < out->warnings.count; i++)
		print_warning(out, out->warnings.items[i]);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return exit_status;
	/* Nobody wants to hear that `ember ... | head` has ended early; the status still tells. */
	if (!reader_is_gone()) {
		error_set(&err, ERR_FAILED, "writing to standard output failed");
		error_hint(&err, "is there room where it goes? df -h shows what is full");
		print_error(err, out->colors_stderr);
	}
	return exit_status ? exit_status : error_exit_status(ERR_FAILED);
}
