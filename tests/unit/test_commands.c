/*
 * What must be true of every entry of the command table.
 */
#include "test.h"

#include <ctype.h>

#include "cli/commands.h"
#include "util/str.h"

#define HELP_WIDTH 60

static void check_help_line(const char *text)
{
	CHECK(!str_is_empty(text));
	CHECK(!str_ends_with(text, "."));
	CHECK(strlen(text) <= HELP_WIDTH + 10);
}

static void check_option(const Option *options, const Option *option, size_t struct_size)
{
	check_help_line(option->help);
	CHECK(option->offset < struct_size);
	CHECK(!str_starts_with(option->name, "-"));
	if (option_takes_value(option))
		CHECK(!str_is_empty(option->value));
	if (option->kind == OPTION_CHOICE || option->kind == OPTION_CHOICES)
		CHECK(!str_is_empty(option->choices));
	if (option->kind == OPTION_NUMBER)
		CHECK(option->min < option->max && option->initial >= -1);
	/* The first of that name or letter is this one: there is no second. */
	CHECK(option_find_name(options, option->name, strlen(option->name)) == option);
	if (option->letter)
		CHECK(option_find_letter(options, option->letter) == option);
	if (options != global_options) {
		CHECK(!option_find_name(global_options, option->name, strlen(option->name)));
		CHECK(!option_find_letter(global_options, option->letter));
	}
}

static void check_options(const Option *options, size_t struct_size)
{
	CHECK(option_count(options) <= 64);
	for (const Option *o = options; o && o->name; o++)
		check_option(options, o, struct_size);
}

static void check_leaf(const Cmd *cmd)
{
	CHECK(cmd->run);
	CHECK(cmd->min_args <= cmd->max_args);
	CHECK((cmd->max_args == 0) == (cmd->args == NULL));
	CHECK((cmd->options == NULL) == (cmd->options_size == 0));
	CHECK((cmd->flags & CMD_HIDDEN) || !str_is_empty(cmd->examples));
}

static void check_children(const Cmd *parent)
{
	for (const Cmd *cmd = parent->children; cmd->name; cmd++) {
		check_help_line(cmd->help);
		CHECK(isupper((unsigned char)cmd->help[0]));
		CHECK(cmd_find(parent, cmd->name) == cmd);
		if (cmd->alias)
			CHECK(cmd_find(parent, cmd->alias) == cmd);
		check_options(cmd->options, cmd->options_size);
		if (cmd->children)
			check_children(cmd);
		else
			check_leaf(cmd);
	}
}

static void test_table(void)
{
	check_children(&root_cmd);
}

static void test_globals(void)
{
	check_options(global_options, sizeof(Globals));
}

static void test_nouns_are_shallow(void)
{
	for (const Cmd *noun = root_cmd.children; noun->name; noun++)
		for (const Cmd *cmd = noun->children; cmd && cmd->name; cmd++)
			CHECK(!cmd->children);
}

TEST_MAIN({ "every command", test_table }, { "the global options", test_globals },
	  { "no command has more than two words", test_nouns_are_shallow })
