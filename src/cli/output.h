/*
 * What the user sees, in one place: success messages, results, warnings and the error.
 *
 * Text: messages and data on stdout, warnings and errors on stderr. JSON: stdout carries documents,
 * one a line, and nothing else; warnings travel inside the next result, the error is the last line.
 * Quiet silences progress and messages, never data, warnings or errors. Untrusted text is made
 * harmless before it is printed. Whether stdout took it all is asked once, at the end.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "cli/progress.h"
#include "cli/table.h"
#include "util/error.h"
#include "util/str.h"

typedef struct Output {
	bool is_json;
	bool is_quiet;
	bool colors_stdout;
	bool colors_stderr;
	Strv warnings;	    /* JSON: not yet told; what no result takes goes to stderr at the end */
	Progress *progress; /* kept away while we print; NULL: none. Owned. */
} Output;

typedef struct OutputOptions {
	bool is_json;
	bool is_quiet;
	bool is_verbose;
	bool no_color;
} OutputOptions;

void output_init(Output *out, const OutputOptions *options);
void output_release(Output *out);

/* Is there a terminal that shows progress? */
bool output_is_watched(const Output *out);

/* "VM 'web' started.": for text only, silenced by quiet. */
void output_message(Output *out, const char *fmt, ...) PRINTF(2, 3);
/* Lines of data for text only; quiet does not silence them. */
void output_text(Output *out, const char *fmt, ...) PRINTF(2, 3);
/* A line of a stream, which is never wrapped: the same text in every format. */
void output_stream_text(const char *fmt, ...) PRINTF(1, 2);
/* One document; takes the reference. */
void output_json_take(Output *out, json_t *doc);
/* The table, or in JSON the list under `key` of an object (NULL: the list itself). */
void output_table(Output *out, const Table *table, const char *key);

/* "Title:  value" lines, for text only. The values are taken. */
typedef struct Fact {
	const char *title;
	char *value; /* NULL: "-" */
} Fact;
void output_facts_take(Output *out, Fact *facts, size_t count);

/* Is there somebody to ask: a terminal on both ends, and text wanted? */
bool output_can_ask(const Output *out);
/* Ask "... [y/N]". 1: yes, 0: no or nothing, -1: Ctrl-C. */
int output_ask(Output *out, Error **err, const char *fmt, ...) PRINTF(3, 4);

void output_warning(Output *out, const char *text);

/* A line of what a program under way says, on stderr, made safe for a terminal; of what it wrote over itself only the last
 * shows. False: not shown, since JSON or quiet was asked for. */
bool output_program_line(Output *out, const char *text);

/* Put the warnings since the last result into this one, an object. */
void output_add_warnings(Output *out, json_t *doc);

/* A list that is too long to be held: items are written as they come. JSON only. */
void output_list_begin(Output *out);
void output_list_item_take(Output *out, json_t *item, bool is_first);
void output_list_end(Output *out);

void output_error(Output *out, const Error *err, int exit_status);
/* The last word: did stdout take everything? The exit status, 1 instead of 0 when it did not. */
int output_finish(Output *out, int exit_status);

/* A string for JSON whatever its bytes; a new reference. */
json_t *output_json_string(const char *text);
