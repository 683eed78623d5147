#include "kernel/fragment.h"

#include <ctype.h>
#include <string.h>

#include "util/fs.h"
#include "util/mem.h"

#define NOT_SET "n"

static void option_release(FragmentOption *option)
{
	free(option->name);
	free(option->value);
	*option = (FragmentOption){ 0 };
}

void fragment_release(Fragment *fragment)
{
	for (size_t i = 0; i < fragment->count; i++)
		option_release(&fragment->items[i]);
	free(fragment->items);
	*fragment = (Fragment){ 0 };
}

/* Where the option is, or would be. */
static size_t place_of(const Fragment *fragment, const char *name, bool *out_is_there)
{
	size_t low = 0, high = fragment->count;

	*out_is_there = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(fragment->items[middle].name, name);

		if (order == 0) {
			*out_is_there = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void put_take(Fragment *fragment, FragmentOption *option)
{
	bool is_there;
	size_t at = place_of(fragment, option->name, &is_there);

	if (is_there) {
		option_release(&fragment->items[at]);
	} else {
		fragment->items = xreallocarray(fragment->items, fragment->count + 1,
						sizeof(*fragment->items));
		memmove(&fragment->items[at + 1], &fragment->items[at],
			(fragment->count - at) * sizeof(*fragment->items));
		fragment->count++;
	}
	fragment->items[at] = *option;
	*option = (FragmentOption){ 0 };
}

static size_t name_length(const char *text)
{
	static const char prefix[] = "CONFIG_";
	size_t len = sizeof(prefix) - 1;

	if (!str_starts_with(text, prefix))
		return 0;
	while (isalnum((unsigned char)text[len]) || text[len] == '_')
		len++;
	return len > sizeof(prefix) - 1 ? len : 0;
}

/* 1 an option, 0 a comment or nothing, -1 neither. */
static int parse_line(const char *line, FragmentOption *out_option)
{
	static const char wish[] = "#? ", comment[] = "# ", unset[] = " is not set";
	bool is_wish = str_starts_with(line, wish);
	const char *text = line + (is_wish ? sizeof(wish) - 1 : 0);
	bool is_comment = str_starts_with(text, comment);
	size_t len = name_length(text + (is_comment ? sizeof(comment) - 1 : 0));

	if (is_comment) {
		text += sizeof(comment) - 1;
		if (!len || strcmp(text + len, unset) != 0)
			return 0;
		*out_option = (FragmentOption){ xstrndup(text, len), xstrdup(NOT_SET), is_wish };
		return 1;
	}
	if (!*text || *text == '#')
		return is_wish ? -1 : 0;
	if (!len || text[len] != '=' || !text[len + 1])
		return -1;
	*out_option = (FragmentOption){ xstrndup(text, len), xstrdup(text + len + 1), is_wish };
	return 1;
}

static int refuse_line(const char *what, size_t number, const char *line, Error **err)
{
	auto_free char *shown = str_make_printable(xasprintf("%.100s", line));

	error_set(err, ERR_USAGE, "%s, line %zu: '%s' is no option", what, number, shown);
	return error_hint(err, "write CONFIG_NAME=y, or: # CONFIG_NAME is not set");
}

static int refuse_module(const char *what, size_t number, const char *name, Error **err)
{
	error_set(err, ERR_USAGE, "%s, line %zu: %s is asked for as a module", what, number, name);
	return error_hint(err, "ember's VMs have no modules; build it in: %s=y", name);
}

int fragment_add(Fragment *fragment, const char *text, const char *what, Error **err)
{
	auto_free char *copy = xstrdup(text);
	char *rest = copy, *line;

	for (size_t number = 1; (line = strsep(&rest, "\n")); number++) {
		FragmentOption option = { 0 };
		size_t len = strlen(line);
		int found;

		while (len && isspace((unsigned char)line[len - 1]))
			line[--len] = '\0';
		found = parse_line(line, &option);
		if (found < 0)
			return refuse_line(what, number, line, err);
		if (found && !strcmp(option.value, "m")) {
			refuse_module(what, number, option.name, err);
			option_release(&option);
			return -1;
		}
		if (found)
			put_take(fragment, &option);
	}
	return 0;
}

int fragment_add_file(Fragment *fragment, const char *path, Error **err)
{
	auto_free char *text = NULL;
	auto_free char *what = xasprintf("'%s'", path);
	size_t len;

	if (fs_read(path, FRAGMENT_MAX, &text, &len, err) < 0)
		return -1;
	if (strlen(text) != len) {
		error_set(err, ERR_USAGE, "'%s' is not a text", path);
		return error_hint(err, "name a file of lines like CONFIG_NAME=y");
	}
	return fragment_add(fragment, text, what, err);
}

static char *option_line(const FragmentOption *option)
{
	if (!strcmp(option->value, NOT_SET))
		return xasprintf("# %s is not set", option->name);
	return xasprintf("%s=%s", option->name, option->value);
}

char *fragment_text(const Fragment *fragment)
{
	Strbuf text = { .max = (size_t)FRAGMENT_MAX * 4 };

	for (size_t i = 0; i < fragment->count; i++) {
		auto_free char *line = option_line(&fragment->items[i]);

		strbuf_addf(&text, "%s\n", line);
	}
	return text.text ? strbuf_take(&text) : xstrdup("");
}

/* Whether a whole .config says so. What it does not name is off. */
static bool has_effect(const FragmentOption *option, const char *config)
{
	bool is_off = !strcmp(option->value, NOT_SET);
	auto_free char *line = option_line(option);
	auto_free char *key = xasprintf("%s=", option->name);
	size_t len = is_off ? strlen(key) : strlen(line);
	const char *wanted = is_off ? key : line;

	for (const char *at = config; (at = strstr(at, wanted)); at++)
		if ((at == config || at[-1] == '\n') && (is_off || !at[len] || at[len] == '\n'))
			return !is_off;
	return is_off;
}

void fragment_missing(const Fragment *fragment, const char *config, Strv *out_lines)
{
	for (size_t i = 0; i < fragment->count; i++)
		if (!fragment->items[i].is_wish && !has_effect(&fragment->items[i], config))
			strv_push_take(out_lines, option_line(&fragment->items[i]));
}
