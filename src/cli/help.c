#include "cli/help.h"

#include <string.h>

#include "cli/commands.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

#define LEFT_MIN 12

static bool is_shown(const Cmd *cmd)
{
	return !(cmd->flags & CMD_HIDDEN);
}

static void add_row(Strbuf *text, const char *left, size_t width, const char *right)
{
	strbuf_addf(text, "  %-*s  %s", (int)width, left, right);
}

/* "-s, --state-dir DIR" */
static char *option_left(const Option *option)
{
	const char *value = option_takes_value(option) ? option->value : NULL;
	char letter[] = { '-', option->letter, ',', ' ', '\0' };

	return xasprintf("%s--%s%s%s", option->letter ? letter : "    ", option->name,
			 value ? " " : "", value ? value : "");
}

static void add_options(Strbuf *text, const char *title, const Option *options)
{
	size_t width = LEFT_MIN;

	if (!option_count(options))
		return;
	for (const Option *o = options; o->name; o++) {
		auto_free char *left = option_left(o);

		width = strlen(left) > width ? strlen(left) : width;
	}
	for (const Option *o = options; o->name; o++) {
		auto_free char *left = option_left(o);

		if (o == options || o->group)
			strbuf_addf(text, "\n%s:\n", o->group ? o->group : title);
		add_row(text, left, width, o->help);
		if (o->kind == OPTION_NUMBER && o->initial >= 0)
			strbuf_addf(text, " (%lld)", (long long)o->initial);
		strbuf_adds(text, o->is_required ? " (required)\n" : "\n");
	}
}

static char *command_left(const Cmd *cmd)
{
	return cmd->alias ? xasprintf("%s, %s", cmd->name, cmd->alias) : xstrdup(cmd->name);
}

static void add_commands(Strbuf *text, const Cmd *parent)
{
	const char *group = NULL;

	for (const Cmd *cmd = parent->children; cmd->name; cmd++) {
		auto_free char *left = command_left(cmd);

		if (!is_shown(cmd))
			continue;
		if (cmd == parent->children || !str_equal(group, cmd->group))
			strbuf_addf(text, "\n%s:\n", cmd->group ? cmd->group : "Commands");
		group = cmd->group;
		add_row(text, left, LEFT_MIN, cmd->help);
		strbuf_addc(text, '\n');
	}
}

static void add_indented(Strbuf *text, const char *title, const char *lines)
{
	strbuf_addf(text, "\n%s:\n", title);
	while (*lines) {
		size_t len = strcspn(lines, "\n");

		strbuf_addf(text, "  %.*s\n", (int)len, lines);
		lines += len + (lines[len] == '\n');
	}
}

static void add_usage(Strbuf *text, const Cmd *root, const Invocation *invocation)
{
	auto_free char *path = cmd_path_text(invocation);
	const Cmd *cmd = invocation->cmd;

	strbuf_addf(text, "Usage: %s", path);
	if (cmd == root || cmd->options)
		strbuf_adds(text, " [OPTIONS]");
	if (cmd->children)
		strbuf_adds(text, " COMMAND");
	else if (cmd->args)
		strbuf_addf(text, " %s", cmd->args);
	strbuf_addf(text, "\n\n%s.\n", cmd->help);
	if (cmd->about)
		strbuf_addf(text, "\n%s\n", cmd->about);
}

char *help_text(const Cmd *root, const Option *globals, const Invocation *invocation)
{
	const Cmd *cmd = invocation->cmd;
	Strbuf text = { 0 };

	add_usage(&text, root, invocation);
	if (cmd->children)
		add_commands(&text, cmd);
	add_options(&text, "Options", cmd->options);
	if (cmd == root)
		add_options(&text, "Options of every command", globals);
	if (cmd->examples)
		add_indented(&text, "Examples", cmd->examples);
	if (cmd == root)
		strbuf_adds(&text, "\nember help COMMAND tells more about one of them.\n");
	else if (cmd->children)
		strbuf_addf(&text, "\nember help %s COMMAND tells more about one of them.\n",
			    cmd->name);
	else
		strbuf_adds(&text, "\nember help shows the options that every command takes.\n");
	return strbuf_take(&text);
}

void help_show(App *app, const Invocation *invocation)
{
	auto_free char *text = help_text(&root_cmd, global_options, invocation);

	if (app->out.is_json) {
		json_t *doc = json_object();

		json_put_string(doc, "help", text);
		output_json_take(&app->out, doc);
	} else {
		text[strlen(text) - 1] = '\0';
		output_text(&app->out, "%s", text);
	}
}

int cmd_help(App *app, const Args *args, Error **err)
{
	Invocation about = { .cmd = &root_cmd };

	for (size_t i = 0; i < args->count; i++) {
		const Cmd *child = cmd_find(about.cmd, args->words[i]);

		if (!child)
			return cmd_unknown(&root_cmd, about.cmd, args->words[i], err);
		about.path[i] = about.cmd = child;
	}
	help_show(app, &about);
	return 0;
}
