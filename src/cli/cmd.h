/*
 * Commands: what an entry of THE table (commands.c) says, and how a command line becomes a call.
 *
 * Parsing, help, completion, the check of the man pages and the set-up before a command runs all
 * read the same entries, so that none of them can disagree. A command says four things: read the
 * words, call one operation, show the result, return.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cli/option.h"
#include "cli/output.h"
#include "ops/context.h"
#include "util/error.h"

/* What an option in seconds may be at most: a year. */
#define SECONDS_MAX (366LL * 24 * 60 * 60)

/* What a command runs in. */
typedef struct App {
	Output out;
	Context ctx;	 /* open when the command has CMD_STATE */
	int exit_status; /* of a command that succeeded: a guest's status, or of failures that were
			  * reported one by one. Of one that failed: its status, when that is not the
			  * error's own (a guest's command that could not be started). */
} App;

/* The words and options of a command line; all borrowed from it. */
typedef struct Args {
	const char **words;
	size_t count;
	void *options; /* the command's own struct */
} Args;

typedef enum CmdFlags {
	CMD_STATE = 1 << 0,	 /* works on the state directory; its operation reads the config */
	CMD_HIDDEN = 1 << 1,	 /* not in help */
	CMD_TAKES_REST = 1 << 2, /* options end at the second word: the guest's command */
	CMD_GUEST_STATUS = 1 << 3, /* exits with a guest's status, so own failures are 125 */
} CmdFlags;

#define ARGS_ANY	 SIZE_MAX
#define EXIT_OWN_FAILURE 125
#define CMD_PATH_WORDS	 2 /* "vm create" */

typedef struct Cmd {
	const char *name;
	const char *alias; /* NULL: none */
	const char *args;  /* as in the usage line: "NAME..."; NULL: takes no words */
	size_t min_args, max_args;
	WordKind words[2];     /* what they are: the first, and all that follow */
	const Option *options; /* NULL: none of its own */
	size_t options_size;   /* of the struct they fill */
	unsigned flags;
	int (*run)(App *app, const Args *args, Error **err);
	const struct Cmd *children; /* of a noun; it has no `run` then. Ends with an empty one */
	const char *group;	    /* the heading in the overview */
	const char *help;	    /* one line */
	const char *about;	    /* what the one line leaves out; NULL: nothing */
	const char *examples;	    /* one a line; NULL: none */
} Cmd;

/* For the tables: where an option's value goes, and which options a command has. */
#define FIELD(type, member)  .offset = offsetof(type, member)
#define OPTIONS(table, type) .options = (table), .options_size = sizeof(type)

/* Options that every command takes, before and after its name. */
typedef struct Globals {
	const char *state_dir;
	const char *format;
	bool quiet;
	bool verbose;
	bool no_color;
	bool version;
	bool help;
} Globals;

/* A command line, understood. */
typedef struct Invocation {
	Globals globals;
	const Cmd *path[CMD_PATH_WORDS + 1]; /* from the root down; NULL-terminated */
	const Cmd *cmd;			     /* the last of them, or the root */
	Args args;
	OptionSet sets[2]; /* the command's own, the global ones */
} Invocation;

/* Understand a command line. On failure *invocation holds what was understood so far, so that the
 * error can be shown in the right form. Release it either way. */
int cmd_parse(const Cmd *root, const Option *globals, const char *const *argv,
	      Invocation *invocation, Error **err);
void cmd_release(Invocation *invocation);
/* Are the words those that the command takes? Names are checked too. */
int cmd_check_words(const Invocation *invocation, Error **err);

/* A child by name or alias, NULL: none. */
const Cmd *cmd_find(const Cmd *parent, const char *word);
/* ERR_USAGE with what was meant, perhaps. */
int cmd_unknown(const Cmd *root, const Cmd *parent, const char *word, Error **err);
/* "ember vm create"; owned. */
char *cmd_path_text(const Invocation *invocation);
