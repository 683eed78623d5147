/*
 * The command line (words are lines of the input), and text from guests on its way to a terminal.
 * Whatever comes, parsing ends in a command or in an Error with a hint, and no control byte gets
 * through.
 */
#include "cli/commands.h"
#include "cli/complete.h"
#include "cli/plain.h"
#include "fuzz.h"
#include "util/mem.h"

#define WORDS_MAX 32

static void check_command_line(char *text)
{
	const char *words[WORDS_MAX + 2] = { "ember" };
	auto_strv Strv candidates = { 0 };
	auto_error err = NULL;
	Invocation line;
	size_t count = 1;

	for (char *word = strsep(&text, "\n"); word && count <= WORDS_MAX;
	     word = strsep(&text, "\n"))
		words[count++] = word;
	if (cmd_parse(&root_cmd, global_options, words, &line, &err) < 0 ||
	    (!line.globals.help && line.cmd->run && cmd_check_words(&line, &err) < 0)) {
		CHECK(error_code(err) == ERR_USAGE && error_hint_text(err));
	} else {
		CHECK(!err && line.args.count < count);
	}
	cmd_release(&line);
	complete_words(&root_cmd, global_options, words + 1, count - 1, &candidates);
}

static void check_shown(const char *text)
{
	for (; *text; text++)
		CHECK(((unsigned char)*text >= 0x20 && *text != 0x7f) || *text == '\n' ||
		      *text == '\t');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = xstrndup((const char *)data, size);
	auto_free char *printable = str_make_printable(xstrdup(text));
	auto_free char *again = str_make_printable(xstrdup(printable));
	auto_strbuf Strbuf shown = { 0 };
	PlainState state = PLAIN_TEXT;

	(void)setenv("EMBER_STATE_DIR", "/nonexistent", 1);
	plain_filter(&state, text, strlen(text), &shown);
	check_shown(strbuf_str(&shown));
	check_shown(printable);
	CHECK(!strcmp(printable, again) && strlen(printable) == strlen(text));
	check_command_line(text);
	return 0;
}
