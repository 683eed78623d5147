#include "util/str.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

static size_t strbuf_room(Strbuf *sb, size_t want)
{
	size_t max = sb->max ? sb->max : STRBUF_DEFAULT_MAX;

	if (want > max - sb->len) {
		want = max - sb->len;
		sb->truncated = true;
	}
	if (sb->len + want + 1 > sb->cap) {
		size_t cap = sb->cap ? sb->cap * 2 : 64;

		while (cap < sb->len + want + 1)
			cap *= 2;
		sb->text = xreallocarray(sb->text, cap, 1);
		sb->cap = cap;
	}
	return want;
}

void strbuf_add(Strbuf *sb, const void *data, size_t len)
{
	size_t fits = strbuf_room(sb, len);

	if (fits)
		memcpy(sb->text + sb->len, data, fits);
	sb->len += fits;
	sb->text[sb->len] = '\0';
}

void strbuf_adds(Strbuf *sb, const char *text)
{
	strbuf_add(sb, text, strlen(text));
}

void strbuf_addc(Strbuf *sb, char c)
{
	strbuf_add(sb, &c, 1);
}

void strbuf_addf(Strbuf *sb, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list args;

	va_start(args, fmt);
	text = xvasprintf(fmt, args);
	va_end(args);
	strbuf_adds(sb, text);
}

void strbuf_add_base64(Strbuf *sb, const void *data, size_t size, bool is_padded)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *in = data;

	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i;
		uint32_t group = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
				 (left > 2 ? in[i + 2] : 0);

		for (unsigned digit = 0; digit < 4; digit++)
			if (digit <= left)
				strbuf_addc(sb, digits[group >> (18 - 6 * digit) & 63]);
			else if (is_padded)
				strbuf_addc(sb, '=');
	}
}

void strbuf_clear(Strbuf *sb)
{
	sb->len = 0;
	sb->truncated = false;
	if (sb->text)
		sb->text[0] = '\0';
}

const char *strbuf_str(const Strbuf *sb)
{
	return sb->text ? sb->text : "";
}

char *strbuf_take(Strbuf *sb)
{
	char *text = sb->text ? sb->text : xstrdup("");

	sb->text = NULL;
	sb->len = sb->cap = 0;
	sb->truncated = false;
	return text;
}

void strbuf_release(Strbuf *sb)
{
	free(sb->text);
	*sb = (Strbuf){ 0 };
}

void strv_push_take(Strv *list, char *text)
{
	list->items = xreallocarray(list->items, list->count + 2, sizeof(char *));
	list->items[list->count++] = text;
	list->items[list->count] = NULL;
}

void strv_push(Strv *list, const char *text)
{
	strv_push_take(list, xstrdup(text));
}

void strv_pushf(Strv *list, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	strv_push_take(list, xvasprintf(fmt, args));
	va_end(args);
}

void strv_copy(Strv *to, const Strv *from)
{
	for (size_t i = 0; i < from->count; i++)
		strv_push(to, from->items[i]);
}

bool strv_has(const Strv *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (!strcmp(list->items[i], text))
			return true;
	return false;
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort(Strv *list)
{
	if (list->count)
		qsort(list->items, list->count, sizeof(char *), compare_strings);
}

char *strv_join(const Strv *list, const char *separator)
{
	Strbuf sb = { 0 };

	for (size_t i = 0; i < list->count; i++) {
		if (i)
			strbuf_adds(&sb, separator);
		strbuf_adds(&sb, list->items[i]);
	}
	return strbuf_take(&sb);
}

void strv_release(Strv *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (Strv){ 0 };
}

bool str_equal(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

bool str_starts_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

bool str_ends_with(const char *text, const char *suffix)
{
	size_t len = strlen(text), tail = strlen(suffix);

	return len >= tail && !strcmp(text + len - tail, suffix);
}

bool str_parse_u64(const char *text, uint64_t max, uint64_t *out_value)
{
	uint64_t value = 0;

	if (str_is_empty(text))
		return false;
	for (; *text; text++) {
		uint64_t digit;

		if (*text < '0' || *text > '9')
			return false;
		digit = (uint64_t)(*text - '0');
		if (value > (max - digit) / 10 || digit > max)
			return false;
		value = value * 10 + digit;
	}
	*out_value = value;
	return true;
}

#define DISTANCE_MAX 64

/* The optimal string alignment distance: three rows of the classic table, because a swap looks two
 * rows back. */
unsigned str_distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	unsigned rows[3][DISTANCE_MAX + 1];

	if (la > DISTANCE_MAX || lb > DISTANCE_MAX)
		return DISTANCE_MAX;
	for (unsigned j = 0; j <= lb; j++)
		rows[0][j] = j;
	for (unsigned i = 1; i <= la; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i - 1) % 3];

		row[0] = i;
		for (unsigned j = 1; j <= lb; j++) {
			unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    rows[(i - 2) % 3][j - 2] + 1 < best)
				best = rows[(i - 2) % 3][j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[la % 3][lb];
}

const char *str_nearest(const char *word, const char *const *words, size_t count)
{
	unsigned limit = (unsigned)strlen(word) / 3 + 1, best = limit + 1;
	const char *found = NULL;

	for (size_t i = 0; i < count; i++) {
		unsigned distance = str_distance(word, words[i]);

		if (distance < best && distance < strlen(words[i])) {
			best = distance;
			found = words[i];
		}
	}
	return found;
}

/* Bytes of the character of two or more bytes that begins here; 0 when it is not UTF-8 (RFC 3629). */
static size_t utf8_length(const unsigned char *c)
{
	size_t len = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;

	if (c[0] < 0xc2 || c[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, and beyond U+10FFFF. */
	if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
	    (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
		return 0;
	return len;
}

bool str_is_utf8(const char *text)
{
	const unsigned char *c = (const unsigned char *)text;

	while (*c) {
		size_t len = *c < 0x80 ? 1 : utf8_length(c);

		if (!len)
			return false;
		c += len;
	}
	return true;
}

char *str_make_printable(char *text)
{
	unsigned char *c = (unsigned char *)text;

	while (*c) {
		size_t len = *c < 0x80 ? 1 : utf8_length(c);
		bool is_control = *c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0);

		if (len == 0 || is_control)
			memset(c, '?', len ? len : 1);
		c += len ? len : 1;
	}
	return text;
}
