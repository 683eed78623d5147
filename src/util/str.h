/*
 * Text: a bounded string builder, an owned list of strings, and the few parsers every layer needs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/compiler.h"
#include "util/error.h"

/*
 * Strbuf: text that grows up to a bound, so that no input can grow us without end. Appending past
 * `max` keeps what fits and sets `truncated`. Zero is empty with the default bound of 1 MiB. `text`
 * is NULL until the first append; strbuf_str() never is.
 */
typedef struct Strbuf {
	char *text;
	size_t len;
	size_t cap;
	size_t max;
	bool truncated;
} Strbuf;

#define STRBUF_DEFAULT_MAX (1U << 20)

void strbuf_add(Strbuf *sb, const void *data, size_t len);
void strbuf_adds(Strbuf *sb, const char *text);
void strbuf_addc(Strbuf *sb, char c);
void strbuf_addf(Strbuf *sb, const char *fmt, ...) PRINTF(2, 3);
/* RFC 4648, section 4; the `=` at the end are what a reader may not need. */
void strbuf_add_base64(Strbuf *sb, const void *data, size_t size, bool is_padded);
void strbuf_clear(Strbuf *sb); /* keeps the memory */
const char *strbuf_str(const Strbuf *sb);
char *strbuf_take(Strbuf *sb); /* the caller owns the text; the buffer is empty again */
void strbuf_release(Strbuf *sb);
#define auto_strbuf CLEANUP(strbuf_release)

/* Strv: an owned, NULL-terminated list of owned strings. Zero is empty; `items` is NULL until the
 * first push. */
typedef struct Strv {
	char **items;
	size_t count;
} Strv;

void strv_push(Strv *list, const char *text);
void strv_push_take(Strv *list, char *text);
void strv_pushf(Strv *list, const char *fmt, ...) PRINTF(2, 3);
void strv_copy(Strv *to, const Strv *from); /* `to` must be empty */
bool strv_has(const Strv *list, const char *text);
void strv_sort(Strv *list);
char *strv_join(const Strv *list, const char *separator);
void strv_release(Strv *list);
#define auto_strv CLEANUP(strv_release)

bool str_equal(const char *a, const char *b); /* NULL equals NULL only */
bool str_starts_with(const char *text, const char *prefix);
bool str_ends_with(const char *text, const char *suffix);
/* NULL or "". Inline, so that analysers see that what passes it is no NULL. */
static inline bool str_is_empty(const char *text)
{
	return !text || !*text;
}

/* Decimal digits only, no sign, no space; false on anything else or beyond `max`. */
bool str_parse_u64(const char *text, uint64_t max, uint64_t *out_value);

/* Edit distance (insert, delete, replace, swap of neighbours), for "did you mean". Texts above 64
 * bytes are far away. */
unsigned str_distance(const char *a, const char *b);
/* The nearest of `count` words within a third of the length, or NULL. */
const char *str_nearest(const char *word, const char *const *words, size_t count);

bool str_is_utf8(const char *text);

/* Control characters (also those of U+0080..U+009F) and bytes that are not UTF-8 become '?', so that
 * untrusted text cannot drive a terminal. In place; returns its argument. */
char *str_make_printable(char *text);
