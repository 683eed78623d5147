/*
 * JSON at the edge: typed getters that name the field they did not like, over jansson.
 *
 * json_t is used only where text becomes types (state/, the protocol modules, output). Readers take
 * a document of at most JSON_TEXT_MAX bytes and depth JSON_DEPTH_MAX.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"
#include "util/str.h"

#define JSON_TEXT_MAX (4U << 20)

/* Parse a whole text; *out_doc is a new reference (json_auto_t). Duplicate keys are refused. */
int json_parse_text(const char *text, size_t len, json_t **out_doc, Error **err);
int json_read_file(const char *path, json_t **out_doc, Error **err);
/* Replace a file by the document, indented, with a final newline. */
int json_write_file(const char *path, const json_t *doc, bool durable, Error **err);
/* The same into a new file of a directory that nobody reads yet: no rename, the file alone is made durable. */
int json_write_new_file(const char *path, const json_t *doc, Error **err);
/* One line, owned. */
char *json_text(const json_t *doc);

/*
 * Getters: `key` of object `obj`. The plain form wants the field and gives ERR_FAILED "field 'x' is
 * missing" or "... is not a string"; the _opt form leaves the default when the field is absent or
 * null. Strings are copies.
 */
int json_get_string(const json_t *obj, const char *key, char **out_text, Error **err);
int json_get_string_opt(const json_t *obj, const char *key, char **out_text, Error **err);
int json_get_u64(const json_t *obj, const char *key, uint64_t max, uint64_t *out_value,
		 Error **err);
int json_get_u64_opt(const json_t *obj, const char *key, uint64_t max, uint64_t *out_value,
		     Error **err);
int json_get_bool_opt(const json_t *obj, const char *key, bool *out_value, Error **err);
int json_get_strv_opt(const json_t *obj, const char *key, Strv *out_list, Error **err);
/* An object of strings as "NAME=VALUE" each. */
int json_get_pairs_opt(const json_t *obj, const char *key, Strv *out_pairs, Error **err);
/* Borrowed; NULL when absent or null; an error when it is something else. */
int json_get_object_opt(const json_t *obj, const char *key, const json_t **out_obj, Error **err);
int json_get_array_opt(const json_t *obj, const char *key, const json_t **out_array, Error **err);

/* Builders that write null for NULL and never fail for memory. */
void json_put_string(json_t *obj, const char *key, const char *text);
void json_put_u64(json_t *obj, const char *key, uint64_t value);
void json_put_bool(json_t *obj, const char *key, bool value);
void json_put_strv(json_t *obj, const char *key, const Strv *list);
void json_put_pairs(json_t *obj, const char *key, const Strv *pairs); /* "NAME=VALUE" each */
void json_put_take(json_t *obj, const char *key, json_t *value);      /* takes the reference */
