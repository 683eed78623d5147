/*
 * Options: typed tables that fill plain structs.
 *
 * A table is an array of Option that ends with an empty one. Parsing, help, completion and the
 * check of the man pages all read it. Understood are --name VALUE, --name=VALUE, -x VALUE, -xVALUE
 * and clusters of flags (-qv). An option given twice is refused, unless it is a list. Everything
 * refused is ERR_USAGE, and refused before anything is touched.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

/* The type of the field that an option fills. */
typedef enum OptionKind {
	OPTION_FLAG,	/* bool, takes no value */
	OPTION_TEXT,	/* const char *, borrowed from the command line; NULL: not given */
	OPTION_CHOICE,	/* const char *, one of `choices` */
	OPTION_NUMBER,	/* int64_t within min..max; `initial` when not given */
	OPTION_BYTES,	/* uint64_t, a size with a unit; 0: not given */
	OPTION_MIB,	/* uint64_t, a size in whole MiB; 0: not given */
	OPTION_CHOICES, /* Strv of `choices`, may be repeated */
	OPTION_PAIRS,	/* Strv of KEY=value, may be repeated */
	OPTION_KEYS,	/* Strv of KEY or KEY=value, may be repeated */
	OPTION_EDITS,	/* Strv of KEY=value or KEY- (to remove it), may be repeated */
} OptionKind;

/* What a word can be completed to, and what is checked about it before anything else happens. */
typedef enum WordKind {
	WORD_ANY,	   /* nothing is known about it */
	WORD_FILE,	   /* a local path */
	WORD_VM,	   /* a VM that exists */
	WORD_NEW_VM,	   /* the name of a VM to be */
	WORD_SOURCE,	   /* a VM that exists, or VM@SNAP */
	WORD_SNAPSHOT,	   /* a snapshot of the VM that is the first word */
	WORD_NEW_SNAPSHOT, /* the name of one to be */
	WORD_IMAGE,	   /* an image that exists: local name or reference */
	WORD_NEW_IMAGE,	   /* the local name of an image to be */
	WORD_KERNEL,	   /* a kernel that exists, or a path */
	WORD_KERNEL_NAME,  /* a kernel in the state directory */
	WORD_GUEST,	   /* VM:PATH or a local path */
	WORD_COMMAND,	   /* one of ember's own commands */
	WORD_SHELL,	   /* a shell that completion knows */
} WordKind;

/* Names are checked here, so that no bad one ever comes near a path. */
int word_check(WordKind kind, const char *text, Error **err);

typedef struct Option {
	const char *name; /* without the dashes */
	char letter;	  /* 0: none */
	OptionKind kind;
	bool is_required;
	bool may_be_empty;   /* --boot-args "" means something */
	size_t offset;	     /* of the field in the struct */
	const char *value;   /* what stands for the value in help: "SIZE" */
	int64_t min, max;    /* OPTION_NUMBER */
	int64_t initial;     /* OPTION_NUMBER; shown as the default when it is not negative */
	const char *choices; /* "table|json"; for OPTION_TEXT only what completion offers */
	WordKind word;	     /* what the value is */
	const char *help;
	const char *group; /* title that help sets above it; NULL: it goes on as before */
} Option;

/* A table, the struct it fills, and which of its options were given. */
typedef struct OptionSet {
	const Option *options; /* NULL: no options */
	void *values;
	uint64_t seen;
} OptionSet;

size_t option_count(const Option *options);
bool option_takes_value(const Option *option);

/* Put the initial values into a struct that is all zero. */
void option_init(OptionSet *set);
/* Parse the option that stands at argv[*index] (it begins with '-'), looking into the sets in
 * order; *index is left at the last word that was used. */
int option_parse(OptionSet *sets, size_t set_count, const char *const *argv, size_t *index,
		 Error **err);
/* The first required option that was not given, or NULL. */
const Option *option_missing(const OptionSet *set);
/* Was every required option given? */
int option_check_required(const OptionSet *set, Error **err);
/* Set one option from text, as the command line would (for EMBER_FORMAT). `source` is named in the
 * error. */
int option_set_value(const OptionSet *set, const Option *option, const char *source,
		     const char *text, Error **err);
void option_release(OptionSet *set);

/* The option with that long name or that letter, NULL: none. */
const Option *option_find_name(const Option *options, const char *name, size_t len);
const Option *option_find_letter(const Option *options, char letter);

/* One of "a|b|c"? */
bool choice_has(const char *choices, const char *text);
