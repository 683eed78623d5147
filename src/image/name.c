#include "image/name.h"

#include <string.h>

#include "image/tree.h"
#include "util/mem.h"
#include "util/str.h"

#define MARKER	 ".wh."
#define INTERNAL ".wh..wh."
#define OPAQUE	 ".wh..wh..opq"

static bool component_is(const char *at, size_t length, const char *text)
{
	return length == strlen(text) && !memcmp(at, text, length);
}

static bool component_begins(const char *at, size_t length, const char *text)
{
	return length >= strlen(text) && !memcmp(at, text, strlen(text));
}

static int refuse_path(const char *raw, size_t length, const char *why, ErrorCode code, Error **err)
{
	auto_free char *shown = xstrndup(raw, length < 200 ? length : 200);

	return error_set(err, code, "path '%s' %s", str_make_printable(shown), why);
}

int name_clean(const char *raw, size_t length, char **out_path, Error **err)
{
	auto_free char *path = NULL;
	size_t used = 0;
	unsigned components = 0;

	if (!length)
		return error_set(err, ERR_FAILED, "a path is empty");
	if (memchr(raw, '\0', length))
		return refuse_path(raw, length, "contains a NUL byte", ERR_FAILED, err);
	if (length > NAME_MAX_PATH)
		return refuse_path(raw, length, "is longer than 4096 bytes", ERR_UNSUPPORTED, err);

	path = xmalloc(length + 1);
	for (size_t begin = 0, part; begin < length; begin += part + 1) {
		const char *at = raw + begin;
		const char *slash = memchr(at, '/', length - begin);

		part = slash ? (size_t)(slash - at) : length - begin;
		if (component_is(at, part, ".."))
			return refuse_path(raw, length, "leads out of its directory by '..'",
					   ERR_FAILED, err);
		if (part > TREE_MAX_NAME)
			return refuse_path(raw, length, "has a name longer than 255 bytes",
					   ERR_UNSUPPORTED, err);
		if (part > 0 && !component_is(at, part, ".")) {
			if (++components > NAME_MAX_COMPONENTS)
				return refuse_path(raw, length, "has more than 1024 components",
						   ERR_UNSUPPORTED, err);
			if (used)
				path[used++] = '/';
			memcpy(path + used, at, part);
			used += part;
		}
	}
	path[used] = '\0';
	*out_path = steal(&path);
	return 0;
}

size_t name_parent(const char *path, const char **out_base)
{
	const char *slash = strrchr(path, '/');

	*out_base = slash ? slash + 1 : path;
	return slash ? (size_t)(slash - path) : 0;
}

/* Find the first component that is a marker, and say what it means. */
static int classify(const char *path, NameKind *out_kind, Error **err)
{
	*out_kind = NAME_PLAIN;
	for (const char *at = path;;) {
		size_t part = strcspn(at, "/");
		bool is_last = at[part] == '\0';

		if (!component_begins(at, part, MARKER)) {
			if (is_last)
				return 0;
			at += part + 1;
			continue;
		}
		if (component_begins(at, part, INTERNAL) && !component_is(at, part, OPAQUE)) {
			*out_kind = NAME_IGNORED;
			return 0;
		}
		if (!is_last)
			return refuse_path(path, strlen(path), "has a whiteout as a directory",
					   ERR_FAILED, err);
		if (component_is(at, part, OPAQUE)) {
			*out_kind = NAME_OPAQUE;
			return 0;
		}
		at += strlen(MARKER);
		if (!*at || !strcmp(at, ".") || !strcmp(at, ".."))
			return refuse_path(path, strlen(path), "is a whiteout of nothing",
					   ERR_FAILED, err);
		*out_kind = NAME_WHITEOUT;
		return 0;
	}
}

int name_parse(const char *raw, size_t length, bool is_directory, NameKind *out_kind,
	       char **out_path, Error **err)
{
	auto_free char *path = NULL;
	NameKind kind;
	const char *base;
	size_t parent;

	if (name_clean(raw, length, &path, err) < 0 || classify(path, &kind, err) < 0)
		return -1;
	if (is_directory && (kind == NAME_WHITEOUT || kind == NAME_OPAQUE))
		return refuse_path(raw, length, "has a whiteout as a directory", ERR_FAILED, err);

	parent = name_parent(path, &base);
	if (kind == NAME_OPAQUE) {
		path[parent] = '\0';
	} else if (kind == NAME_WHITEOUT) {
		char *name = path + (base - path);

		memmove(name, name + strlen(MARKER), strlen(name + strlen(MARKER)) + 1);
	}
	*out_kind = kind;
	*out_path = steal(&path);
	return 0;
}
