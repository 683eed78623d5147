#include "document.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Far above what a kernel takes for one program. */
#define ITEMS_MAX 4096
#define DEPTH_MAX 16

static void skip_space(char **at)
{
	*at += strspn(*at, " \t\r\n");
}

static bool take(char **at, char wanted)
{
	skip_space(at);
	if (**at != wanted)
		return false;
	(*at)++;
	return true;
}

static bool take_hex(const char *digits, unsigned *out_value)
{
	unsigned value = 0;

	for (int i = 0; i < 4; i++) {
		char digit = digits[i];

		if (digit >= '0' && digit <= '9')
			value = value * 16 + (unsigned)(digit - '0');
		else if ((digit | 32) >= 'a' && (digit | 32) <= 'f')
			value = value * 16 + (unsigned)((digit | 32) - 'a' + 10);
		else
			return false;
	}
	*out_value = value;
	return true;
}

/* \uXXXX, or two of them that make one character, as UTF-8; never longer than what it stands for. */
static bool take_unicode(char **at, char **out)
{
	unsigned code, low;
	char *to = *out;

	if (!take_hex(*at, &code) || code == 0)
		return false;
	*at += 4;
	if (code >= 0xd800 && code < 0xe000) {
		if (code >= 0xdc00 || (*at)[0] != '\\' || (*at)[1] != 'u' ||
		    !take_hex(*at + 2, &low) || low < 0xdc00 || low >= 0xe000)
			return false;
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
		*at += 6;
	}
	if (code >= 0x10000) {
		*to++ = (char)(0xf0 | code >> 18);
		*to++ = (char)(0x80 | (code >> 12 & 63));
	} else if (code >= 0x800) {
		*to++ = (char)(0xe0 | code >> 12);
	}
	if (code >= 0x800)
		*to++ = (char)(0x80 | (code >> 6 & 63));
	else if (code >= 0x80)
		*to++ = (char)(0xc0 | code >> 6);
	*to++ = code >= 0x80 ? (char)(0x80 | (code & 63)) : (char)code;
	*out = to;
	return true;
}

/* A string, decoded over itself. */
static bool take_string(char **at, char **out_text)
{
	static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	char *from, *to;

	if (!take(at, '"'))
		return false;
	*out_text = from = to = *at;
	while (*from != '"') {
		const char *escape;

		if ((unsigned char)*from < 0x20)
			return false; /* the end, too */
		if (*from != '\\') {
			*to++ = *from++;
			continue;
		}
		from++;
		if (*from == 'u') {
			from++;
			if (!take_unicode(&from, &to))
				return false;
			continue;
		}
		escape = *from ? strchr(escapes, *from) : NULL;
		if (!escape)
			return false;
		*to++ = meanings[escape - escapes];
		from++;
	}
	*at = from + 1;
	*to = '\0';
	return true;
}

static bool pass_over(char **at, int depth);

/* The rest of an array or object. */
static bool pass_over_all(char **at, char end, int depth)
{
	char *name;

	if (depth == 0)
		return false;
	if (take(at, end))
		return true;
	do {
		if (end == '}' && (!take_string(at, &name) || !take(at, ':')))
			return false;
		if (!pass_over(at, depth - 1))
			return false;
	} while (take(at, ','));
	return take(at, end);
}

static bool pass_over(char **at, int depth)
{
	char *text;
	size_t length;

	skip_space(at);
	if (**at == '"')
		return take_string(at, &text);
	if (take(at, '['))
		return pass_over_all(at, ']', depth);
	if (take(at, '{'))
		return pass_over_all(at, '}', depth);
	length = strspn(*at, "+-.0123456789abcdefghijklmnopqrstuvwxyzE");
	*at += length;
	return length > 0;
}

static bool take_list(char **at, char ***out_list)
{
	char **list = calloc(1, sizeof(*list)), **more;
	size_t count = 0;

	free(*out_list);
	*out_list = list;
	if (!list || !take(at, '['))
		return false;
	if (take(at, ']'))
		return true;
	do {
		more = count < ITEMS_MAX ? realloc(list, (count + 2) * sizeof(*list)) : NULL;
		if (!more)
			return false;
		*out_list = list = more;
		list[count] = NULL;
		if (!take_string(at, &list[count]))
			return false;
		list[++count] = NULL;
	} while (take(at, ','));
	return take(at, ']');
}

static bool take_member(char **at, Document *document)
{
	char *name;

	if (!take_string(at, &name) || !take(at, ':'))
		return false;
	if (strcmp(name, "entrypoint") == 0)
		return take_list(at, &document->entrypoint);
	if (strcmp(name, "cmd") == 0)
		return take_list(at, &document->cmd);
	if (strcmp(name, "env") == 0)
		return take_list(at, &document->env);
	if (strcmp(name, "user") == 0)
		return take_string(at, &document->user);
	if (strcmp(name, "workdir") == 0)
		return take_string(at, &document->workdir);
	return pass_over(at, DEPTH_MAX);
}

static bool take_document(char *at, Document *document)
{
	if (!take(&at, '{'))
		return false;
	if (!take(&at, '}')) {
		do {
			if (!take_member(&at, document))
				return false;
		} while (take(&at, ','));
		if (!take(&at, '}'))
			return false;
	}
	skip_space(&at);
	return *at == '\0';
}

bool document_parse(char *text, Document *out_document)
{
	Document document = { .text = text };

	if (!take_document(text, &document)) {
		document_release(&document);
		return false;
	}
	*out_document = document;
	return true;
}

void document_release(Document *document)
{
	free(document->entrypoint);
	free(document->cmd);
	free(document->env);
	free(document->text);
	*document = (Document){ 0 };
}
