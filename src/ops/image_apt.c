#include "ops/image_apt.h"

#include <string.h>

#include "util/mem.h"
#include "util/process.h"

#define APT_PATIENCE_MS 10000
#define FORMAT		"$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)"

enum { URI, RELEASE, COMPONENT, ORIGIN, FIELDS };

static bool is_release_of(const char *release, const char *suite)
{
	static const char *const parts[] = { "", "-updates", "-security" };
	size_t len = strlen(suite);

	if (strncmp(release, suite, len) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (!strcmp(release + len, parts[i]))
			return true;
	return false;
}

/* Others use Debian's names of releases too, but not its names of components. */
static bool is_debian(const char *component, const char *origin)
{
	/* apt leaves a word that it does not know as it is: nothing was fetched yet. */
	if (*origin && *origin != '$' && strcmp(origin, "Debian") != 0)
		return false;
	return !strcmp(component, "main") || !strcmp(component, "contrib") ||
	       str_starts_with(component, "non-free");
}

static bool is_reachable(const char *uri)
{
	return (str_starts_with(uri, "http://") || str_starts_with(uri, "https://")) &&
	       !strchr(uri, '@');
}

static void parse_line(char *line, const char *suite, Strv *out_lines)
{
	char *fields[FIELDS] = { 0 };
	auto_free char *entry = NULL;
	size_t count = 0;

	for (char *field = strsep(&line, "|"); field && count < FIELDS; field = strsep(&line, "|"))
		fields[count++] = field;
	if (count < FIELDS || !is_reachable(fields[URI]) ||
	    !is_release_of(fields[RELEASE], suite) || !is_debian(fields[COMPONENT], fields[ORIGIN]))
		return;
	entry = xasprintf("deb %s %s %s", fields[URI], fields[RELEASE], fields[COMPONENT]);
	/* Told once for each architecture. */
	if (!strv_has(out_lines, entry))
		strv_push_take(out_lines, steal(&entry));
}

void image_apt_parse(const char *text, const char *suite, Strv *out_lines)
{
	auto_free char *copy = xstrdup(text);
	char *rest = copy;

	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
		parse_line(line, suite, out_lines);
}

void image_apt_sources(const char *suite, Strv *out_lines)
{
	auto_command Command cmd = { 0 };
	auto_strv Strv lines = { 0 };
	auto_free char *main_part = xasprintf(" %s main", suite);

	command_init(&cmd, "apt-get", "indextargets", "--format", FORMAT, "Created-By: Packages",
		     NULL);
	cmd.capture = true;
	if (command_run(&cmd, deadline_in_ms(APT_PATIENCE_MS), NULL) < 0)
		return;
	image_apt_parse(strbuf_str(&cmd.output), suite, &lines);
	/* Updates alone make no system. */
	for (size_t i = 0; i < lines.count; i++) {
		if (!str_ends_with(lines.items[i], main_part))
			continue;
		*out_lines = lines;
		lines = (Strv){ 0 };
		return;
	}
}
