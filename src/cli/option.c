#include "cli/option.h"

#include <assert.h>
#include <string.h>

#include "model/size.h"
#include "model/snapshot.h"
#include "util/mem.h"
#include "util/str.h"

static int check_source(const char *text, Error **err)
{
	auto_free char *vm = NULL;
	auto_free char *snapshot = NULL;

	return snapshot_split(text, &vm, &snapshot, err);
}

int word_check(WordKind kind, const char *text, Error **err)
{
	switch (kind) {
	case WORD_VM:
	case WORD_NEW_VM:
		return name_check("vm", text, err);
	case WORD_SOURCE:
		return check_source(text, err);
	case WORD_SNAPSHOT:
	case WORD_NEW_SNAPSHOT:
		return snapshot_name_check(text, err);
	case WORD_NEW_IMAGE:
		return name_check("image", text, err);
	case WORD_ANY:
	case WORD_FILE:
	case WORD_IMAGE:
	case WORD_KERNEL:
	case WORD_KERNEL_NAME:
	case WORD_GUEST:
	case WORD_COMMAND:
	case WORD_SHELL:
		break;
	}
	return 0;
}

size_t option_count(const Option *options)
{
	size_t count = 0;

	while (options && options[count].name)
		count++;
	return count;
}

bool option_takes_value(const Option *option)
{
	return option->kind != OPTION_FLAG;
}

static bool is_list(const Option *option)
{
	return option->kind == OPTION_CHOICES || option->kind == OPTION_PAIRS ||
	       option->kind == OPTION_KEYS || option->kind == OPTION_EDITS;
}

static void *field(const OptionSet *set, const Option *option)
{
	return (char *)set->values + option->offset;
}

void option_init(OptionSet *set)
{
	assert(option_count(set->options) <= 64);
	for (size_t i = 0; i < option_count(set->options); i++)
		if (set->options[i].kind == OPTION_NUMBER)
			*(int64_t *)field(set, &set->options[i]) = set->options[i].initial;
}

void option_release(OptionSet *set)
{
	for (size_t i = 0; i < option_count(set->options); i++)
		if (is_list(&set->options[i]))
			strv_release(field(set, &set->options[i]));
}

const Option *option_find_name(const Option *options, const char *name, size_t len)
{
	for (const Option *o = options; o && o->name; o++)
		if (strlen(o->name) == len && !strncmp(o->name, name, len))
			return o;
	return NULL;
}

const Option *option_find_letter(const Option *options, char letter)
{
	for (const Option *o = options; o && o->name; o++)
		if (o->letter && o->letter == letter)
			return o;
	return NULL;
}

bool choice_has(const char *choices, const char *text)
{
	size_t len = strlen(text);

	for (const char *at = choices; len && at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
		if (strcspn(at, "|") == len && !strncmp(at, text, len))
			return true;
	return false;
}

static int check_choice(const Option *option, const char *source, const char *text, Error **err)
{
	auto_strv Strv words = { 0 };
	const char *nearest;

	if (choice_has(option->choices, text))
		return 0;
	for (const char *at = option->choices; *at; at += strcspn(at, "|"), at += *at == '|')
		strv_push_take(&words, xstrndup(at, strcspn(at, "|")));
	nearest = str_nearest(text, (const char *const *)words.items, words.count);
	error_set(err, ERR_USAGE, "%s does not know '%s'", source, text);
	if (nearest)
		return error_hint(err, "did you mean '%s'? it takes %s", nearest, option->choices);
	return error_hint(err, "use one of %s", option->choices);
}

static int parse_number(const Option *option, const char *source, const char *text,
			int64_t *out_value, Error **err)
{
	bool is_negative = text[0] == '-';
	uint64_t value;

	if (!str_parse_u64(text + is_negative, UINT64_MAX, &value)) {
		error_set(err, ERR_USAGE, "%s wants a whole number, not '%s'", source, text);
		return error_hint(err, "for example %s %lld", source,
				  (long long)(option->min > 0 ? option->min : 10));
	}
	if (is_negative || (option->min > 0 && value < (uint64_t)option->min)) {
		error_set(err, ERR_USAGE, "%s must be at least %lld, not '%s'", source,
			  (long long)option->min, text);
		return error_hint(err, "for example %s %lld", source, (long long)option->min);
	}
	if (value > (uint64_t)option->max) {
		error_set(err, ERR_USAGE, "%s must be at most %lld, not '%s'", source,
			  (long long)option->max, text);
		return error_hint(err, "for example %s %lld", source, (long long)option->max);
	}
	*out_value = (int64_t)value;
	return 0;
}

static int check_pair(const Option *option, const char *source, const char *text, Error **err)
{
	bool has_value = strchr(text, '=') != NULL;
	bool is_edit = option->kind == OPTION_EDITS;
	size_t len = strlen(text);

	if (text[0] != '=' && (has_value || option->kind == OPTION_KEYS ||
			       (is_edit && len > 1 && text[len - 1] == '-')))
		return 0;
	error_set(err, ERR_USAGE, "%s wants KEY=value%s, not '%s'", source,
		  is_edit ? " or KEY- to remove it" : "", text);
	return error_hint(err, "for example %s %s=1", source,
			  text[0] && text[0] != '=' && text[0] != '-' ? text : "KEY");
}

int option_set_value(const OptionSet *set, const Option *option, const char *source,
		     const char *text, Error **err)
{
	void *target = field(set, option);

	if (!*text && !option->may_be_empty) {
		error_set(err, ERR_USAGE, "%s is given an empty value", source);
		return error_hint(err, "leave it out, or say %s %s", source, option->value);
	}
	switch (option->kind) {
	case OPTION_FLAG:
		*(bool *)target = true;
		return 0;
	case OPTION_TEXT:
		if (word_check(option->word, text, err) < 0)
			return -1;
		*(const char **)target = text;
		return 0;
	case OPTION_CHOICE:
		if (check_choice(option, source, text, err) < 0)
			return -1;
		*(const char **)target = text;
		return 0;
	case OPTION_NUMBER:
		return parse_number(option, source, text, target, err);
	case OPTION_BYTES:
		return size_parse(source, text, target, err);
	case OPTION_MIB:
		return size_parse_mib(source, text, target, err);
	case OPTION_CHOICES:
		if (check_choice(option, source, text, err) < 0)
			return -1;
		strv_push(target, text);
		return 0;
	case OPTION_PAIRS:
	case OPTION_KEYS:
	case OPTION_EDITS:
		if (check_pair(option, source, text, err) < 0)
			return -1;
		strv_push(target, text);
		return 0;
	}
	return 0;
}

/* What the user typed is named in errors: "--cpus" or "-e". */
static char *spelling(const Option *option, bool is_short)
{
	return is_short ? xasprintf("-%c", option->letter) : xasprintf("--%s", option->name);
}

static int mark_seen(OptionSet *set, const Option *option, const char *source, Error **err)
{
	uint64_t bit = 1ULL << (option - set->options);

	if ((set->seen & bit) && !is_list(option)) {
		error_set(err, ERR_USAGE, "%s is given twice", source);
		return error_hint(err, "give it once");
	}
	set->seen |= bit;
	return 0;
}

/* The next word is a value unless it is an option: a forgotten value must not swallow one. Numbers
 * may look like options ("-1"), so that what is wrong with them can be said. */
static bool is_value(const Option *option, const char *word)
{
	bool is_numeric = option->kind == OPTION_NUMBER || option->kind == OPTION_BYTES ||
			  option->kind == OPTION_MIB;

	if (!word)
		return false;
	if (word[0] != '-' || !word[1])
		return true;
	return is_numeric && word[1] >= '0' && word[1] <= '9';
}

/* `inline_value` is what was glued to it: --name=VALUE or -xVALUE. */
static int apply(OptionSet *set, const Option *option, bool is_short, const char *inline_value,
		 const char *const *argv, size_t *index, Error **err)
{
	auto_free char *source = spelling(option, is_short);
	const char *value = inline_value;

	if (mark_seen(set, option, source, err) < 0)
		return -1;
	if (!option_takes_value(option)) {
		if (!value)
			return option_set_value(set, option, source, "on", err);
		error_set(err, ERR_USAGE, "%s takes no value, but is given '%s'", source, value);
		return error_hint(err, "say just %s", source);
	}
	if (!value && !is_value(option, argv[*index + 1])) {
		error_set(err, ERR_USAGE, "%s needs a value", source);
		return error_hint(err, "say --%s=%s", option->name, option->value);
	}
	if (!value)
		value = argv[++*index];
	return option_set_value(set, option, source, value, err);
}

/* "--size" for "--disk-size". */
static bool is_end_of(const char *typed, const char *name)
{
	size_t typed_len = strlen(typed), len = strlen(name);

	return len > typed_len + 1 && name[len - typed_len - 1] == '-' &&
	       !strcmp(name + len - typed_len, typed);
}

/* The option that was meant, or NULL. */
static const char *nearest_option(const char *typed, const char *const *names, size_t count)
{
	const char *nearest = str_nearest(typed, names, count);
	size_t len = strlen(typed);

	/* A word of five letters of which two are others is more often another word than a slip. */
	if (nearest && str_distance(typed, nearest) <= (len < 6 ? 1 : len / 3))
		return nearest;
	for (size_t i = 0; i < count; i++)
		if (is_end_of(typed, names[i]))
			return names[i];
	return NULL;
}

static int unknown(const OptionSet *sets, size_t set_count, const char *typed, size_t len,
		   Error **err)
{
	auto_free char *name = xstrndup(typed, len);
	const char *names[128], *nearest;
	size_t count = 0;

	error_set(err, ERR_USAGE, "unknown option '%s'", name);
	for (size_t s = 0; s < set_count; s++)
		for (const Option *o = sets[s].options; o && o->name; o++)
			if (count < ARRAY_SIZE(names))
				names[count++] = o->name;
	nearest = len > 3 ? nearest_option(name + 2, names, count) : NULL;
	return nearest ? error_hint(err, "did you mean --%s?", nearest) : -1;
}

/* A value that only another option of the command knows: `--format qcow2` of an export means --as. */
static int suggest_other(const OptionSet *sets, size_t set_count, const Option *option,
			 const char *value, Error **err)
{
	auto_error cause = NULL;
	const Option *other = NULL;

	if (option->kind != OPTION_CHOICE || choice_has(option->choices, value))
		return -1;
	for (size_t s = 0; s < set_count; s++)
		for (const Option *o = sets[s].options; o && o->name; o++)
			if (o->kind == OPTION_CHOICE && choice_has(o->choices, value))
				other = o;
	if (!other)
		return -1;
	/* In place of the first hint, which stays an error's only one. */
	error_move(&cause, err);
	error_set(err, ERR_USAGE, "%s", error_text(cause));
	return error_hint(err, "did you mean --%s %s?", other->name, value);
}

static int parse_long(OptionSet *sets, size_t set_count, const char *const *argv, size_t *index,
		      Error **err)
{
	const char *name = argv[*index] + 2;
	size_t len = strcspn(name, "=");

	for (size_t s = 0; s < set_count; s++) {
		const Option *option = option_find_name(sets[s].options, name, len);
		const char *value = name[len] ? name + len + 1 : NULL;

		if (!option)
			continue;
		if (apply(&sets[s], option, false, value, argv, index, err) == 0)
			return 0;
		return suggest_other(sets, set_count, option, value ? value : argv[*index], err);
	}
	return unknown(sets, set_count, argv[*index], len + 2, err);
}

static OptionSet *find_letter(OptionSet *sets, size_t set_count, char letter)
{
	for (size_t s = 0; s < set_count; s++)
		if (option_find_letter(sets[s].options, letter))
			return &sets[s];
	return NULL;
}

static int parse_short(OptionSet *sets, size_t set_count, const char *const *argv, size_t *index,
		       Error **err)
{
	for (const char *at = argv[*index] + 1; *at; at++) {
		OptionSet *set = find_letter(sets, set_count, *at);
		const Option *option = set ? option_find_letter(set->options, *at) : NULL;

		if (!option) {
			char typed[] = { '-', *at, '\0' };

			return unknown(sets, set_count, typed, 2, err);
		}
		if (option_takes_value(option))
			return apply(set, option, true, at[1] ? at + 1 : NULL, argv, index, err);
		if (apply(set, option, true, NULL, argv, index, err) < 0)
			return -1;
	}
	return 0;
}

int option_parse(OptionSet *sets, size_t set_count, const char *const *argv, size_t *index,
		 Error **err)
{
	return argv[*index][1] == '-' ? parse_long(sets, set_count, argv, index, err)
				      : parse_short(sets, set_count, argv, index, err);
}

const Option *option_missing(const OptionSet *set)
{
	for (size_t i = 0; i < option_count(set->options); i++)
		if (set->options[i].is_required && !(set->seen & (1ULL << i)))
			return &set->options[i];
	return NULL;
}

int option_check_required(const OptionSet *set, Error **err)
{
	const Option *option = option_missing(set);

	if (!option)
		return 0;
	error_set(err, ERR_USAGE, "--%s is missing", option->name);
	return error_hint(err, "add --%s %s", option->name, option->value);
}
