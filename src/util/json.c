#include "util/json.h"

#include "util/fs.h"
#include "util/mem.h"

#include <string.h>

int json_parse_text(const char *text, size_t len, json_t **out_doc, Error **err)
{
	json_error_t problem;
	json_t *doc;

	if (len > JSON_TEXT_MAX)
		return error_set(err, ERR_FAILED, "document is larger than %u bytes",
				 JSON_TEXT_MAX);
	/* jansson bounds the depth itself (JSON_PARSER_MAX_DEPTH, 2048). */
	doc = json_loadb(text, len, JSON_REJECT_DUPLICATES, &problem);
	if (!doc) {
		str_make_printable(problem.text);
		return error_set(err, ERR_FAILED, "line %d, column %d: %s", problem.line,
				 problem.column, problem.text);
	}
	*out_doc = doc;
	return 0;
}

int json_read_file(const char *path, json_t **out_doc, Error **err)
{
	auto_free char *text = NULL;
	size_t len;

	if (fs_read(path, JSON_TEXT_MAX, &text, &len, err) < 0)
		return -1;
	if (json_parse_text(text, len, out_doc, err) < 0)
		return error_wrap(err, "read '%s'", path);
	return 0;
}

static int dump(const char *path, const json_t *doc, char **out_text, Error **err)
{
	auto_free char *text = json_dumps(doc, JSON_INDENT(2));

	if (!text)
		return error_set(err, ERR_FAILED, "write '%s': text is not valid UTF-8", path);
	*out_text = xasprintf("%s\n", text);
	return 0;
}

int json_write_file(const char *path, const json_t *doc, bool durable, Error **err)
{
	auto_free char *text = NULL;

	if (dump(path, doc, &text, err) < 0)
		return -1;
	return fs_write_atomic(path, text, strlen(text), 0600, durable, err);
}

int json_write_new_file(const char *path, const json_t *doc, Error **err)
{
	auto_free char *text = NULL;

	if (dump(path, doc, &text, err) < 0)
		return -1;
	return fs_write_new(path, text, strlen(text), 0600, err);
}

char *json_text(const json_t *doc)
{
	char *text = json_dumps(doc, JSON_COMPACT | JSON_ENCODE_ANY);

	return text ? text : xstrdup("null");
}

static int wrong_type(const char *key, const char *wanted, Error **err)
{
	return error_set(err, ERR_FAILED, "field '%s' is not %s", key, wanted);
}

static int missing(const char *key, Error **err)
{
	return error_set(err, ERR_FAILED, "field '%s' is missing", key);
}

static const json_t *lookup(const json_t *obj, const char *key)
{
	const json_t *value = json_object_get(obj, key);

	return json_is_null(value) ? NULL : value;
}

int json_get_string_opt(const json_t *obj, const char *key, char **out_text, Error **err)
{
	const json_t *value = lookup(obj, key);

	if (!value)
		return 0;
	/* A NUL inside would silently shorten it. */
	if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
		return wrong_type(key, "a plain string", err);
	str_assign(out_text, json_string_value(value));
	return 0;
}

int json_get_string(const json_t *obj, const char *key, char **out_text, Error **err)
{
	return lookup(obj, key) ? json_get_string_opt(obj, key, out_text, err) : missing(key, err);
}

int json_get_u64_opt(const json_t *obj, const char *key, uint64_t max, uint64_t *out_value,
		     Error **err)
{
	const json_t *value = lookup(obj, key);

	if (!value)
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return wrong_type(key, "a whole number", err);
	if ((uint64_t)json_integer_value(value) > max)
		return error_set(err, ERR_FAILED, "field '%s' is too large", key);
	*out_value = (uint64_t)json_integer_value(value);
	return 0;
}

int json_get_u64(const json_t *obj, const char *key, uint64_t max, uint64_t *out_value, Error **err)
{
	return lookup(obj, key) ? json_get_u64_opt(obj, key, max, out_value, err)
				: missing(key, err);
}

int json_get_bool_opt(const json_t *obj, const char *key, bool *out_value, Error **err)
{
	const json_t *value = lookup(obj, key);

	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return wrong_type(key, "true or false", err);
	*out_value = json_is_true(value);
	return 0;
}

int json_get_strv_opt(const json_t *obj, const char *key, Strv *out_list, Error **err)
{
	const json_t *value = lookup(obj, key);
	auto_strv Strv list = { 0 };
	const json_t *item;
	size_t i;

	if (!value)
		return 0;
	if (!json_is_array(value))
		return wrong_type(key, "a list of strings", err);
	json_array_foreach(value, i, item)
	{
		if (!json_is_string(item) ||
		    strlen(json_string_value(item)) != json_string_length(item))
			return wrong_type(key, "a list of plain strings", err);
		strv_push(&list, json_string_value(item));
	}
	strv_release(out_list);
	*out_list = list;
	list = (Strv){ 0 };
	return 0;
}

int json_get_object_opt(const json_t *obj, const char *key, const json_t **out_obj, Error **err)
{
	const json_t *value = lookup(obj, key);

	if (value && !json_is_object(value))
		return wrong_type(key, "an object", err);
	*out_obj = value;
	return 0;
}

int json_get_array_opt(const json_t *obj, const char *key, const json_t **out_array, Error **err)
{
	const json_t *value = lookup(obj, key);

	if (value && !json_is_array(value))
		return wrong_type(key, "a list", err);
	*out_array = value;
	return 0;
}

void json_put_take(json_t *obj, const char *key, json_t *value)
{
	if (!value || json_object_set_new(obj, key, value) < 0)
		(void)json_object_set_new(obj, key, json_null());
}

void json_put_string(json_t *obj, const char *key, const char *text)
{
	json_put_take(obj, key, text ? json_string(text) : json_null());
}

void json_put_u64(json_t *obj, const char *key, uint64_t value)
{
	json_put_take(obj, key, json_integer((json_int_t)value));
}

void json_put_bool(json_t *obj, const char *key, bool value)
{
	json_put_take(obj, key, json_boolean(value));
}

void json_put_strv(json_t *obj, const char *key, const Strv *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		(void)json_array_append_new(array, json_string(list->items[i]));
	json_put_take(obj, key, array);
}

void json_put_pairs(json_t *obj, const char *key, const Strv *pairs)
{
	json_t *map = json_object();

	for (size_t i = 0; i < pairs->count; i++) {
		const char *equals = strchr(pairs->items[i], '=');
		auto_free char *name =
			equals ? xstrndup(pairs->items[i], (size_t)(equals - pairs->items[i]))
			       : xstrdup(pairs->items[i]);

		json_put_string(map, name, equals ? equals + 1 : "");
	}
	json_put_take(obj, key, map);
}

int json_get_pairs_opt(const json_t *obj, const char *key, Strv *out_pairs, Error **err)
{
	const json_t *map = NULL;
	const json_t *value;
	const char *name;

	if (json_get_object_opt(obj, key, &map, err) < 0)
		return -1;
	json_object_foreach((json_t *)(uintptr_t)map, name, value)
	{
		if (!json_is_string(value))
			return error_set(err, ERR_FAILED, "field '%s.%s' is not a string", key,
					 name);
		strv_pushf(out_pairs, "%s=%s", name, json_string_value(value));
	}
	return 0;
}
