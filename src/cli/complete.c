#include "cli/complete.h"

#include <string.h>

#include "cli/commands.h"
#include "model/snapshot.h"
#include "ops/context.h"
#include "util/fs.h"
#include "util/mem.h"

#define SEPARATOR "@" /* SNAPSHOT_SEPARATOR, where bash leaves it alone */

/* What is known of the command line when its last word is reached. */
typedef struct Line {
	const Option *global_options;
	const Cmd *cmd;	       /* NULL: an unknown command, nothing can be said */
	const Option *pending; /* its value comes next */
	bool options_ended;
	bool is_glued; /* the next word belongs to the one before... */
	char glue;     /* ...with that between them */
	size_t word_count;
	const char *first; /* of the words */
	const char *state_dir;
	const Option *seen[64];
	size_t seen_count;
} Line;

static const Option *find_option(const Line *line, const char *word)
{
	const Option *tables[] = { line->cmd->options, line->global_options };

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		const Option *option = word[1] == '-' ? option_find_name(tables[i], word + 2,
									 strcspn(word + 2, "="))
						      : option_find_letter(tables[i], word[1]);

		if (option)
			return option;
	}
	return NULL;
}

static void note_value(Line *line, const Option *option, const char *value)
{
	if (!strcmp(option->name, "state-dir"))
		line->state_dir = value;
}

static void note_option(Line *line, const char *word)
{
	const Option *option = find_option(line, word);
	const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;

	if (!option)
		return;
	if (line->seen_count < ARRAY_SIZE(line->seen))
		line->seen[line->seen_count++] = option;
	if (!option_takes_value(option))
		return;
	if (equals)
		note_value(line, option, equals + 1);
	else if (word[1] == '-' || !word[2])
		line->pending = option;
	else
		note_value(line, option, word + 2);
}

/* One word before the last. Lenient: what is wrong is for the parser to say. */
static void note_word(Line *line, const char *word)
{
	if (line->is_glued || !strcmp(word, ":") || !strcmp(word, SEPARATOR)) {
		/* bash makes three words of VM:PATH and VM@SNAP. */
		line->is_glued = !line->is_glued;
		line->glue = word[0];
	} else if (line->pending) {
		/* bash makes three words of --name=value. */
		if (!strcmp(word, "="))
			return;
		note_value(line, line->pending, word);
		line->pending = NULL;
	} else if (!line->options_ended && !strcmp(word, "--")) {
		line->options_ended = true;
	} else if (!line->options_ended && word[0] == '-' && word[1]) {
		note_option(line, word);
	} else if (line->cmd->children) {
		line->cmd = cmd_find(line->cmd, word);
	} else {
		if (line->word_count++ == 0)
			line->first = word;
	}
}

/* Add a candidate if it continues the word; `glue` stands before it on the command line. */
static void offer(Strv *lines, const char *prefix, const char *glue, const char *word,
		  const char *description)
{
	if (!str_starts_with(word, prefix))
		return;
	if (str_is_empty(description))
		strv_pushf(lines, "%s%s", glue, word);
	else
		strv_pushf(lines, "%s%s\t%s", glue, word, description);
}

static void offer_choices(Strv *lines, const char *prefix, const char *glue, const char *choices)
{
	while (choices && *choices) {
		size_t len = strcspn(choices, "|");
		auto_free char *choice = xstrndup(choices, len);

		offer(lines, prefix, glue, choice, NULL);
		choices += len + (choices[len] == '|');
	}
}

/* Names of directories in a directory of the state: vms, images, kernels or a VM's snapshots. */
static void offer_names(const Line *line, Strv *lines, const char *prefix, const char *glue,
			const char *kind, const char *suffix)
{
	CLEANUP(context_release) Context ctx = { 0 };
	auto_free char *path = NULL;
	auto_strv Strv names = { 0 };

	if (context_init(&ctx, line->state_dir, NULL) < 0)
		return;
	path = path_join(ctx.store.dir, kind);
	if (fs_list(path, &names, NULL) < 0)
		return;
	for (size_t i = 0; i < names.count; i++) {
		auto_free char *word = xasprintf("%s%s", names.items[i], suffix);

		/* Caches and the like lie beside them; stock is offered in any case. */
		if (name_check(kind, names.items[i], NULL) < 0 || strv_has(lines, word))
			continue;
		offer(lines, prefix, glue, word, NULL);
	}
}

static void offer_snapshots(const Line *line, Strv *lines, const char *prefix, const char *glue,
			    const char *vm)
{
	auto_free char *kind = NULL;

	if (!vm || name_check("vm", vm, NULL) < 0)
		return;
	kind = xasprintf("vms/%s/snapshots", vm);
	offer_names(line, lines, prefix, glue, kind, "");
}

/* VM or VM@SNAP. */
static void offer_sources(const Line *line, Strv *lines, const char *prefix, const char *glue)
{
	const char *at = strchr(prefix, SNAPSHOT_SEPARATOR);
	auto_free char *vm = at ? xstrndup(prefix, (size_t)(at - prefix)) : NULL;
	auto_free char *behind = at ? xasprintf("%s%s" SEPARATOR, glue, vm) : NULL;

	if (at)
		offer_snapshots(line, lines, at + 1, behind, vm);
	else
		offer_names(line, lines, prefix, glue, "vms", "");
}

static void offer_commands(Strv *lines, const char *prefix, const Cmd *parent)
{
	for (const Cmd *cmd = parent->children; cmd && cmd->name; cmd++)
		if (!(cmd->flags & CMD_HIDDEN))
			offer(lines, prefix, "", cmd->name, cmd->help);
}

static void offer_kind(const Line *line, Strv *lines, const char *prefix, const char *glue,
		       WordKind kind)
{
	switch (kind) {
	case WORD_VM:
		offer_names(line, lines, prefix, glue, "vms", "");
		break;
	case WORD_SOURCE:
		offer_sources(line, lines, prefix, glue);
		break;
	case WORD_SNAPSHOT:
		offer_snapshots(line, lines, prefix, glue, line->first);
		break;
	case WORD_IMAGE:
		offer_names(line, lines, prefix, glue, "images", "");
		break;
	case WORD_KERNEL:
		offer(lines, prefix, glue, "stock", NULL);
		offer_names(line, lines, prefix, glue, "kernels", "");
		strv_push(lines, ":files");
		break;
	case WORD_KERNEL_NAME:
		offer_names(line, lines, prefix, glue, "kernels", "");
		break;
	case WORD_GUEST:
		offer_names(line, lines, prefix, glue, "vms", ":");
		strv_push(lines, ":files");
		strv_push(lines, ":nospace");
		break;
	case WORD_FILE:
		strv_push(lines, ":files");
		break;
	case WORD_SHELL:
		offer_choices(lines, prefix, glue, line->cmd->args);
		break;
	case WORD_ANY:
	case WORD_NEW_VM:
	case WORD_NEW_SNAPSHOT:
	case WORD_NEW_IMAGE:
	case WORD_COMMAND: /* offer_help */
		break;
	}
}

static void offer_value(const Line *line, Strv *lines, const char *prefix, const char *glue,
			const Option *option)
{
	offer_choices(lines, prefix, glue, option->choices);
	offer_kind(line, lines, prefix, glue, option->word);
}

static bool is_seen(const Line *line, const Option *option)
{
	for (size_t i = 0; i < line->seen_count; i++)
		if (line->seen[i] == option)
			return option->kind != OPTION_CHOICES && option->kind != OPTION_PAIRS &&
			       option->kind != OPTION_KEYS && option->kind != OPTION_EDITS;
	return false;
}

static void offer_options(const Line *line, Strv *lines, const char *prefix)
{
	const Option *tables[] = { line->cmd->options, line->global_options };

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		for (const Option *o = tables[i]; o && o->name; o++) {
			auto_free char *word = xasprintf("--%s", o->name);

			if (!is_seen(line, o))
				offer(lines, prefix, "", word, o->help);
		}
	}
}

/* "help vm cr": the words before lead down the table. */
static void offer_help(Strv *lines, const char *const *words, size_t count)
{
	const Cmd *cmd = &root_cmd;

	for (size_t i = 1; i + 1 < count && cmd; i++)
		if (words[i][0] != '-')
			cmd = cmd_find(cmd, words[i]);
	if (cmd)
		offer_commands(lines, words[count - 1], cmd);
}

static void offer_last(const Line *line, const char *const *words, size_t count, Strv *lines)
{
	const char *word = words[count - 1];
	const char *equals = strchr(word, '=');
	size_t place = line->word_count ? 1 : 0;

	if (line->pending) {
		offer_value(line, lines, !strcmp(word, "=") ? "" : word, "", line->pending);
	} else if (!line->options_ended && word[0] == '-' && word[1] == '-' && equals) {
		const Option *option = find_option(line, word);
		auto_free char *glue = xstrndup(word, (size_t)(equals - word) + 1);

		if (option)
			offer_value(line, lines, equals + 1, glue, option);
	} else if (!line->options_ended && word[0] == '-') {
		offer_options(line, lines, word);
	} else if (line->cmd->children) {
		offer_commands(lines, word, line->cmd);
	} else if (line->word_count < line->cmd->max_args) {
		if (line->cmd->words[place] == WORD_COMMAND)
			offer_help(lines, words, count);
		else
			offer_kind(line, lines, word, "", line->cmd->words[place]);
	}
}

/* Nothing is known of the guest's commands and files. */
static bool is_guest_part(const Line *line)
{
	return (line->cmd->flags & CMD_TAKES_REST) && line->word_count > 1;
}

/* Behind the @ of the first word, in a shell that has made three of it? */
static bool is_in_source(const Line *line, const char *word)
{
	return line->cmd->words[0] == WORD_SOURCE && line->word_count == 1 &&
	       (line->is_glued ? line->glue == SNAPSHOT_SEPARATOR : !strcmp(word, SEPARATOR));
}

void complete_words(const Cmd *root, const Option *globals, const char *const *words, size_t count,
		    Strv *out_lines)
{
	Line line = { .global_options = globals, .cmd = root };

	if (count == 0)
		return;
	for (size_t i = 0; i + 1 < count && line.cmd && !is_guest_part(&line); i++)
		note_word(&line, words[i]);
	if (line.cmd && is_in_source(&line, words[count - 1]))
		offer_snapshots(&line, out_lines, line.is_glued ? words[count - 1] : "", "",
				line.first);
	else if (line.cmd && !line.is_glued && !is_guest_part(&line))
		offer_last(&line, words, count, out_lines);
}

int cmd_complete(App *app UNUSED, const Args *args, Error **err UNUSED)
{
	auto_strv Strv lines = { 0 };

	complete_words(&root_cmd, global_options, args->words, args->count, &lines);
	for (size_t i = 0; i < lines.count; i++)
		output_stream_text("%s", lines.items[i]);
	return 0;
}
