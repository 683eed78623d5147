#include "test.h"

#include "cli/cmd.h"
#include "cli/option.h"

typedef struct Values {
	bool flag;
	const char *text;
	const char *may;
	const char *choice;
	const char *other;
	int64_t number;
	uint64_t bytes;
	uint64_t mib;
	Strv pairs;
	Strv keys;
	Strv choices;
} Values;

static const Option options[] = {
	{ "flag", 'f', OPTION_FLAG, .offset = offsetof(Values, flag) },
	{ "text", 't', OPTION_TEXT, .offset = offsetof(Values, text), .value = "TEXT" },
	{ "may", 0, OPTION_TEXT, .may_be_empty = true, .offset = offsetof(Values, may),
	  .value = "TEXT" },
	{ "choice", 0, OPTION_CHOICE, .offset = offsetof(Values, choice), .value = "C",
	  .choices = "one|two" },
	{ "other", 0, OPTION_CHOICE, .offset = offsetof(Values, other), .value = "C",
	  .choices = "two|four" },
	{ "number", 'n', OPTION_NUMBER, .offset = offsetof(Values, number), .value = "N", .min = 2,
	  .max = 9, .initial = 5 },
	{ "bytes", 0, OPTION_BYTES, .offset = offsetof(Values, bytes), .value = "SIZE" },
	{ "memory", 0, OPTION_MIB, .offset = offsetof(Values, mib), .value = "SIZE" },
	{ "env", 'e', OPTION_PAIRS, .offset = offsetof(Values, pairs), .value = "KEY=value" },
	{ "label", 0, OPTION_KEYS, .offset = offsetof(Values, keys), .value = "KEY" },
	{ "status", 0, OPTION_CHOICES, .offset = offsetof(Values, choices), .value = "S",
	  .choices = "up|down" },
	{ 0 },
};

static const Option global_table[] = {
	{ "state-dir", 's', OPTION_TEXT, .offset = offsetof(Globals, state_dir), .value = "DIR" },
	{ "quiet", 'q', OPTION_FLAG, .offset = offsetof(Globals, quiet) },
	{ "help", 'h', OPTION_FLAG, .offset = offsetof(Globals, help) },
	{ 0 },
};

static const Cmd vm_table[] = {
	{ "create", .args = "NAME", .min_args = 1, .max_args = 1, .words = { WORD_NEW_VM },
	  .options = options, .options_size = sizeof(Values) },
	{ "delete", .alias = "rm", .args = "NAME...", .min_args = 1, .max_args = ARGS_ANY,
	  .words = { WORD_VM, WORD_VM } },
	{ 0 },
};
static const Cmd top_table[] = {
	{ "vm", .children = vm_table },
	{ "exec", .args = "NAME COMMAND", .min_args = 2, .max_args = ARGS_ANY, .words = { WORD_VM },
	  .flags = CMD_TAKES_REST, .options = options, .options_size = sizeof(Values) },
	{ "version", .max_args = 0 },
	{ 0 },
};
static const Cmd top = { .name = "ember", .children = top_table };

static Invocation line;
static Error *problem;

/* Parse words that are separated by blanks; 'E' stands for an empty word. */
static int parse(const char *text)
{
	static char copy[256];
	static const char *argv[32];
	size_t count = 1;

	cmd_release(&line);
	error_clear(&problem);
	(void)snprintf(copy, sizeof(copy), "%s", text);
	argv[0] = "ember";
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[count++] = strcmp(word, "E") ? word : "";
	argv[count] = NULL;
	if (cmd_parse(&top, global_table, argv, &line, &problem) < 0)
		return -1;
	return line.globals.help ? 0 : cmd_check_words(&line, &problem);
}

static const Values *values(void)
{
	return line.args.options;
}

#define CHECK_REFUSED(text, message, hint)                      \
	do {                                                    \
		CHECK_INT(parse(text), -1);                     \
		CHECK_INT(error_code(problem), ERR_USAGE);      \
		CHECK_CONTAINS(error_text(problem), message);   \
		CHECK_CONTAINS(error_hint_text(problem), hint); \
	} while (0)

static void test_spellings(void)
{
	CHECK_OK(parse("vm create web --flag --text a --number=7"), problem);
	CHECK(values()->flag);
	CHECK_STR(values()->text, "a");
	CHECK_INT(values()->number, 7);
	CHECK_OK(parse("vm create -f -ta -n 3 web"), problem);
	CHECK_STR(values()->text, "a");
	CHECK_INT(values()->number, 3);
	CHECK_OK(parse("vm create -fqn4 web"), problem);
	CHECK(values()->flag && line.globals.quiet);
	CHECK_INT(values()->number, 4);
	CHECK_OK(parse("vm create web --text=a=b"), problem);
	CHECK_STR(values()->text, "a=b");
	CHECK_OK(parse("vm create web --text -"), problem);
	CHECK_STR(values()->text, "-");
}

static void test_defaults(void)
{
	CHECK_OK(parse("vm create web"), problem);
	CHECK(!values()->flag && !values()->text && !values()->mib);
	CHECK_INT(values()->number, 5);
}

static void test_globals_everywhere(void)
{
	static const char *const lines[] = { "-s /x vm create web", "vm -s /x create web",
					     "vm create -s /x web",
					     "vm create web --state-dir=/x" };

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		CHECK_OK(parse(lines[i]), problem);
		CHECK_STR(line.globals.state_dir, "/x");
		CHECK_STR(line.args.words[0], "web");
	}
}

static void test_typed_values(void)
{
	CHECK_OK(parse("vm create web --memory 2G --bytes 1K --env A=1 -e B= --label x --label y=2 "
		       "--status up --status down --choice two"),
		 problem);
	CHECK_INT(values()->mib, 2048);
	CHECK_INT(values()->bytes, 1024);
	CHECK_INT(values()->pairs.count, 2);
	CHECK_STR(values()->pairs.items[1], "B=");
	CHECK_INT(values()->keys.count, 2);
	CHECK_INT(values()->choices.count, 2);
	CHECK_STR(values()->choice, "two");
}

static void test_refused(void)
{
	CHECK_REFUSED("vm create web --txet a", "unknown option '--txet'", "--text");
	CHECK_REFUSED("vm create web --zzzzz", "unknown option '--zzzzz'",
		      "ember vm create --help");
	CHECK_REFUSED("vm create web -z", "unknown option '-z'", "--help");
	CHECK_REFUSED("vm create web --text", "--text needs a value", "--text=TEXT");
	CHECK_REFUSED("vm create web --text --flag", "--text needs a value", "--text=TEXT");
	CHECK_REFUSED("vm create web -t", "-t needs a value", "--text=TEXT");
	CHECK_REFUSED("vm create web --text E", "empty", "--text TEXT");
	CHECK_REFUSED("vm create web --flag=yes", "takes no value", "--flag");
	CHECK_REFUSED("vm create web --flag -f", "given twice", "once");
	CHECK_REFUSED("vm create web --text a --text b", "given twice", "once");
	CHECK_REFUSED("vm create web --choice three", "does not know 'three'", "one|two");
	CHECK_REFUSED("vm create web --choice four", "does not know 'four'", "--other four");
	CHECK_REFUSED("vm create web --choice=four", "does not know 'four'", "--other four");
	CHECK_REFUSED("vm create web --other two --other two", "twice", "once");
	CHECK_REFUSED("vm create web --number many", "whole number", "--number 2");
	CHECK_REFUSED("vm create web --number 1", "must be at least 2", "--number 2");
	CHECK_REFUSED("vm create web --number -1", "must be at least 2", "--number 2");
	CHECK_REFUSED("vm create web --number 10", "must be at most 9", "--number 9");
	CHECK_REFUSED("vm create web --number 99999999999999999999", "whole number", "--number");
	CHECK_REFUSED("vm create web --number 18446744073709551615", "at most 9", "--number 9");
	CHECK_REFUSED("vm create web --memory 1.5G", "--memory", "512M");
	CHECK_REFUSED("vm create web --memory -1G", "--memory", "512M");
	CHECK_REFUSED("vm create web --memory 0G", "--memory", "512M");
	CHECK_REFUSED("vm create web --memory 512", "requires a unit suffix", "512M");
	CHECK_REFUSED("vm create web --env A", "KEY=value", "A=1");
	CHECK_REFUSED("vm create web --env =A", "KEY=value", "KEY=1");
	CHECK_REFUSED("vm create web --label =A", "KEY=value", "KEY=1");
}

static void test_empty_allowed(void)
{
	CHECK_OK(parse("vm create web --may E"), problem);
	CHECK_STR(values()->may, "");
}

static void test_words(void)
{
	CHECK_REFUSED("vm create", "ember vm create needs NAME",
		      "usage: ember vm create [OPTIONS] NAME");
	CHECK_REFUSED("vm create a b", "unexpected word 'b'",
		      "usage: ember vm create [OPTIONS] NAME");
	CHECK_REFUSED("version now", "unexpected word 'now'", "ember version");
	CHECK_REFUSED("vm create ../x", "not a valid vm name", "web-1");
	CHECK_REFUSED("vm create -rf", "unknown option '-r'", "--help");
	CHECK_REFUSED("vm create -- -rf", "not a valid vm name", "web-1");
	CHECK_REFUSED("vm create E", "not a valid vm name", "web-1");
	CHECK_OK(parse("vm rm a b c"), problem);
	CHECK_STR(line.cmd->name, "delete");
	CHECK_INT(line.args.count, 3);
}

static void test_did_you_mean(void)
{
	CHECK_REFUSED("vm crate web", "unknown command 'vm crate'", "ember vm create?");
	CHECK_REFUSED("delete web", "unknown command 'delete'", "ember vm delete?");
	CHECK_REFUSED("rm web", "unknown command 'rm'", "ember vm delete?");
	CHECK_REFUSED("verzion", "unknown command 'verzion'", "ember version?");
	CHECK_REFUSED("crate", "unknown command 'crate'", "ember vm create?");
	CHECK_REFUSED("qqqqqqqq", "unknown command", "ember help");
}

static void test_rest(void)
{
	CHECK_OK(parse("exec -t a web --flag ls -l --text b"), problem);
	CHECK_STR(values()->text, "a");
	CHECK(values()->flag);
	CHECK_INT(line.args.count, 5);
	CHECK_STR(line.args.words[2], "-l");
	CHECK_OK(parse("exec web -f -- -ls -- -l"), problem);
	CHECK(values()->flag);
	CHECK_INT(line.args.count, 4);
	CHECK_STR(line.args.words[1], "-ls");
	CHECK_STR(line.args.words[2], "--");
	CHECK_OK(parse("exec -- web ls"), problem);
	CHECK_INT(line.args.count, 2);
	CHECK_REFUSED("exec web", "needs NAME COMMAND", "usage");
	CHECK_REFUSED("exec web --", "needs NAME COMMAND", "usage");
}

static void test_help_wins(void)
{
	CHECK_OK(parse("vm create --help"), problem);
	CHECK_STR(line.cmd->name, "create");
	CHECK_OK(parse("vm -h"), problem);
	CHECK_STR(line.cmd->name, "vm");
	CHECK_REFUSED("vm create --wrong --help", "unknown option '--wrong'", "--help");
	cmd_release(&line);
	error_clear(&problem);
}

TEST_MAIN({ "spellings of an option", test_spellings }, { "initial values", test_defaults },
	  { "global options before and after the command", test_globals_everywhere },
	  { "typed values", test_typed_values }, { "what is refused, and its hint", test_refused },
	  { "a value that may be empty", test_empty_allowed }, { "words", test_words },
	  { "did you mean", test_did_you_mean }, { "the rest belongs to the guest", test_rest },
	  { "help wins over missing words", test_help_wins })
