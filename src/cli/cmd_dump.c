/*
 * The table and the error codes as plain lines: scripts/check-docs compares the documents with
 * them.
 */
#include "cli/commands.h"
#include "util/mem.h"

static void dump_options(const char *path, const Option *options)
{
	for (const Option *o = options; o && o->name; o++) {
		output_stream_text("option %s --%s", path, o->name);
		if (o->letter)
			output_stream_text("option %s -%c", path, o->letter);
	}
}

static void dump_children(const char *parent_path, const Cmd *parent)
{
	for (const Cmd *cmd = parent->children; cmd && cmd->name; cmd++) {
		auto_free char *path = xasprintf("%s %s", parent_path, cmd->name);

		if (cmd->flags & CMD_HIDDEN)
			continue;
		output_stream_text("command %s", path);
		if (cmd->run)
			output_stream_text("usage %s%s%s%s", path, cmd->options ? " [OPTIONS]" : "",
					   cmd->args ? " " : "", cmd->args ? cmd->args : "");
		if (cmd->alias)
			output_stream_text("alias %s %s", parent_path, cmd->alias);
		dump_options(path, cmd->options);
		dump_children(path, cmd);
	}
}

int cmd_dump_commands(App *app UNUSED, const Args *args UNUSED, Error **err UNUSED)
{
	dump_options(root_cmd.name, global_options);
	dump_children(root_cmd.name, &root_cmd);
	return 0;
}

int cmd_dump_errors(App *app UNUSED, const Args *args UNUSED, Error **err UNUSED)
{
	for (int code = 0; code < ERR_CODES; code++)
		output_stream_text("%s %d", error_code_word((ErrorCode)code),
				   error_exit_status((ErrorCode)code));
	return 0;
}
