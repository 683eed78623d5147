#include "cli/cmd.h"

#include <assert.h>
#include <string.h>

#include "util/mem.h"
#include "util/str.h"

const Cmd *cmd_find(const Cmd *parent, const char *word)
{
	for (const Cmd *cmd = parent->children; cmd && cmd->name; cmd++)
		if (!strcmp(cmd->name, word) || str_equal(cmd->alias, word))
			return cmd;
	return NULL;
}

char *cmd_path_text(const Invocation *invocation)
{
	Strbuf text = { 0 };

	strbuf_adds(&text, "ember");
	for (const Cmd *const *cmd = invocation->path; *cmd; cmd++)
		strbuf_addf(&text, " %s", (*cmd)->name);
	return strbuf_take(&text);
}

/* The name of a noun that has such a verb: who types "ember start" means "ember vm start". */
static const Cmd *noun_with(const Cmd *root, const char *verb)
{
	for (const Cmd *noun = root->children; noun && noun->name; noun++)
		if (noun->children && cmd_find(noun, verb))
			return noun;
	return NULL;
}

static const char *nearest_child(const Cmd *parent, const char *word)
{
	const char *names[64];
	size_t count = 0;

	for (const Cmd *cmd = parent->children; cmd && cmd->name; cmd++)
		if (!(cmd->flags & CMD_HIDDEN) && count < ARRAY_SIZE(names))
			names[count++] = cmd->name;
	return str_nearest(word, names, count);
}

/* "ember vm create" for "ember crate"; owned, NULL when nothing is near. */
static char *nearest_anywhere(const Cmd *root, const char *word)
{
	const char *nearest = nearest_child(root, word);

	if (nearest)
		return xasprintf("ember %s", nearest);
	for (const Cmd *noun = root->children; noun && noun->name; noun++) {
		nearest = noun->children ? nearest_child(noun, word) : NULL;
		if (nearest)
			return xasprintf("ember %s %s", noun->name, nearest);
	}
	return NULL;
}

/* What other programs of this kind say, and what it is called here: the noun is that of the bare word. */
typedef struct Synonym {
	const char *other, *noun, *verb;
} Synonym;

static const Synonym synonyms[] = {
	{ "remove", "vm", "delete" },	     { "destroy", "vm", "delete" },
	{ "rmi", "image", "delete" },	     { "load", "image", "import" },
	{ "save", "image", "export" },	     { "tag", "image", "rename" },
	{ "show", "vm", "inspect" },	     { "ps", "vm", "list" },
	{ "use", "kernel", "default" },	     { "rollback", "snapshot", "restore" },
	{ "revert", "snapshot", "restore" },
};

static const Synonym *find_synonym(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(synonyms); i++)
		if (!strcmp(word, synonyms[i].other))
			return &synonyms[i];
	return NULL;
}

/* Words that look like a command which does something else altogether. */
static bool is_other_verb(const char *word)
{
	return !strcmp(word, "resume") || !strcmp(word, "pause") || !strcmp(word, "suspend");
}

int cmd_unknown(const Cmd *root, const Cmd *parent, const char *word, Error **err)
{
	bool at_top = parent == root;
	const Synonym *synonym = find_synonym(word);
	const Cmd *noun = at_top && !synonym ? noun_with(root, word) : NULL;
	auto_free char *meant = NULL;

	if (synonym && at_top)
		meant = xasprintf("ember %s %s", synonym->noun, synonym->verb);
	else if (synonym && cmd_find(parent, synonym->verb))
		meant = xasprintf("ember %s %s", parent->name, synonym->verb);
	else if (noun)
		meant = xasprintf("ember %s %s", noun->name, cmd_find(noun, word)->name);
	else if (at_top && !is_other_verb(word))
		meant = nearest_anywhere(root, word);
	else if (!is_other_verb(word) && nearest_child(parent, word))
		meant = xasprintf("ember %s %s", parent->name, nearest_child(parent, word));
	error_set(err, ERR_USAGE, "unknown command '%s%s%s'", at_top ? "" : parent->name,
		  at_top ? "" : " ", word);
	if (meant)
		return error_hint(err, "did you mean %s?", meant);
	return error_hint(err, "ember help%s%s lists the commands", at_top ? "" : " ",
			  at_top ? "" : parent->name);
}

/* Go one word down the table. */
static int descend(const Cmd *root, Invocation *invocation, size_t depth, const char *word,
		   Error **err)
{
	const Cmd *child = cmd_find(invocation->cmd, word);

	if (!child)
		return cmd_unknown(root, invocation->cmd, word, err);
	assert(depth < CMD_PATH_WORDS);
	invocation->path[depth] = child;
	invocation->cmd = child;
	if (child->options) {
		invocation->sets[0].options = child->options;
		invocation->sets[0].values = xcalloc(1, child->options_size);
		invocation->args.options = invocation->sets[0].values;
		option_init(&invocation->sets[0]);
	}
	return 0;
}

static bool is_option(const char *word)
{
	return word[0] == '-' && word[1];
}

/* With container engines the name of what is made is an option. */
static int hint_name_first(const Invocation *invocation, const char *option, Error **err)
{
	auto_free char *path = cmd_path_text(invocation);
	const Cmd *cmd = invocation->cmd;

	if (cmd->words[0] != WORD_NEW_IMAGE ||
	    (strcmp(option, "-t") != 0 && strcmp(option, "--tag") != 0))
		return -1;
	return error_hint(err, "the name comes first, without an option: %s %s", path, cmd->args);
}

/* What other commands are for: the option of one, and who has it. */
typedef struct Elsewhere {
	const char *verb, *option, *command;
} Elsewhere;

static const Elsewhere elsewhere[] = {
	{ "update-config", "--disk-size", "ember vm resize NAME --disk-size SIZE" },
	{ "update-config", "--name", "ember vm rename NAME NEW" },
};

static int hint_elsewhere(const Invocation *invocation, const char *option, Error **err)
{
	size_t len = strcspn(option, "=");

	for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
		if (str_equal(invocation->cmd->name, elsewhere[i].verb) &&
		    strlen(elsewhere[i].option) == len &&
		    !strncmp(option, elsewhere[i].option, len))
			return error_hint(err, "that is: %s", elsewhere[i].command);
	return hint_name_first(invocation, option, err);
}

static int parse_words(const Cmd *root, const char *const *argv, Invocation *invocation,
		       Error **err)
{
	Args *args = &invocation->args;
	bool options_ended = false;
	size_t depth = 0;

	for (size_t i = 1; argv[i]; i++) {
		if (!options_ended && !strcmp(argv[i], "--")) {
			options_ended = true;
		} else if (!options_ended && is_option(argv[i])) {
			if (option_parse(invocation->sets, ARRAY_SIZE(invocation->sets), argv, &i,
					 err) < 0)
				return hint_elsewhere(invocation, argv[i], err);
			if (invocation->globals.help)
				return 0;
		} else if (invocation->cmd->children) {
			if (descend(root, invocation, depth++, argv[i], err) < 0)
				return -1;
		} else {
			args->words[args->count++] = argv[i];
			/* The guest's command: its options are not ours. */
			if ((invocation->cmd->flags & CMD_TAKES_REST) && args->count == 2)
				options_ended = true;
		}
	}
	return 0;
}

int cmd_parse(const Cmd *root, const Option *globals, const char *const *argv,
	      Invocation *invocation, Error **err)
{
	size_t count = 0;

	while (argv[count])
		count++;
	*invocation = (Invocation){ .cmd = root };
	invocation->sets[1] = (OptionSet){ globals, &invocation->globals, 0 };
	invocation->args.words = xcalloc(count + 1, sizeof(*invocation->args.words));
	if (parse_words(root, argv, invocation, err) < 0) {
		auto_free char *path = cmd_path_text(invocation);

		return error_hint(err, "%s --help lists the options", path);
	}
	return 0;
}

void cmd_release(Invocation *invocation)
{
	option_release(&invocation->sets[0]);
	free(invocation->sets[0].values);
	free(invocation->args.words);
	*invocation = (Invocation){ 0 };
}

/* A file where the name of an image belongs that is made of a file. */
static bool is_name_forgotten(const Cmd *cmd, const Args *args, size_t index)
{
	const char *word = args->words[index];

	return index == 0 && cmd->words[0] == WORD_NEW_IMAGE && cmd->words[1] == WORD_FILE &&
	       args->count == 1 && (!strcmp(word, ".") || strchr(word, '/'));
}

/* `vm fork` takes VM@SNAP; commands about snapshots take them as words. */
static bool is_joined_snapshot(const Cmd *cmd, const Args *args)
{
	return (cmd->words[1] == WORD_SNAPSHOT || cmd->words[1] == WORD_NEW_SNAPSHOT) &&
	       args->count == 1 && strchr(args->words[0], '@');
}

static int hint_usage(const Cmd *cmd, const char *path, Error **err)
{
	return error_hint(err, "usage: %s%s%s%s", path, cmd->options ? " [OPTIONS]" : "",
			  cmd->args ? " " : "", cmd->args ? cmd->args : "");
}

int cmd_check_words(const Invocation *invocation, Error **err)
{
	auto_free char *path = cmd_path_text(invocation);
	const Cmd *cmd = invocation->cmd;
	const Args *args = &invocation->args;

	if (args->count < cmd->min_args) {
		error_set(err, ERR_USAGE, "%s needs %s", path, cmd->args);
		if (is_joined_snapshot(cmd, args))
			return error_hint(err, "the snapshot is a word of its own: %s %.*s %s",
					  path, (int)strcspn(args->words[0], "@"), args->words[0],
					  strchr(args->words[0], '@') + 1);
		return hint_usage(cmd, path, err);
	}
	if (args->count > cmd->max_args) {
		const Option *missing = option_missing(&invocation->sets[0]);
		const char *word = args->words[cmd->max_args];

		error_set(err, ERR_USAGE, "unexpected word '%s'", word);
		if (missing)
			return error_hint(err, "did you mean --%s %s?", missing->name, word);
		return hint_usage(cmd, path, err);
	}
	for (size_t i = 0; i < args->count; i++)
		if (word_check(cmd->words[i ? 1 : 0], args->words[i], err) < 0)
			return is_name_forgotten(cmd, args, i)
				       ? error_set_hint(err, "the name comes first: %s NAME %s",
							path, args->words[i])
				       : -1;
	return option_check_required(&invocation->sets[0], err);
}
