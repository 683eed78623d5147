#include "image/events.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"

/* A failure to write shows nowhere but here: main.c ends the worker when its reader has gone. */
static void print_take(json_t *event)
{
	json_auto_t *owned = event;
	auto_free char *text = json_text(owned);
	auto_free char *line = xasprintf("%s\n", text);

	(void)fs_write_all(STDOUT_FILENO, line, strlen(line), NULL);
}

/* The length of the UTF-8 character at `text` if it is whole, the shortest form, and printable; else 0. */
static size_t safe_character(const unsigned char *text)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = text[0] < 0x80	     ? 1
			: text[0] >> 5 == 6  ? 2
			: text[0] >> 4 == 14 ? 3
			: text[0] >> 3 == 30 ? 4
					     : 0;
	uint32_t code = length == 1 ? text[0] : length ? text[0] & (0x7fu >> length) : 0;

	for (size_t i = 1; i < length; i++) {
		if (text[i] >> 6 != 2)
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	if (!length || code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return code < 0x20 || (code >= 0x7f && code < 0xa0) ? 0 : length;
}

char *text_make_safe(char *text)
{
	for (unsigned char *at = (unsigned char *)text; *at;) {
		size_t length = safe_character(at);

		if (length) {
			at += length;
		} else {
			*at++ = '?';
		}
	}
	return text;
}

static void put_safe(json_t *event, const char *key, const char *text)
{
	auto_free char *safe = text ? text_make_safe(xstrdup(text)) : NULL;

	json_put_string(event, key, safe);
}

void event_progress(uint64_t bytes, uint64_t total)
{
	json_t *event = json_object();

	json_put_string(event, "event", "progress");
	json_put_u64(event, "bytes", bytes);
	json_put_u64(event, "total", total);
	print_take(event);
}

void event_warning(const char *message)
{
	json_t *event = json_object();

	json_put_string(event, "event", "warning");
	put_safe(event, "message", message);
	print_take(event);
}

void event_result(const ImportResult *result)
{
	json_t *event = json_object();

	json_put_string(event, "event", "result");
	json_put_u64(event, "size_bytes", result->size_bytes);
	json_put_string(event, "digest", result->digest);
	put_safe(event, "reference", result->reference);
	json_put_take(event, "config", json_incref(result->config));
	json_put_bool(event, "has_init", result->has_init);
	json_put_u64(event, "entries", result->entries);
	print_take(event);
}

void event_probe(const ProbeResult *result)
{
	json_t *event = json_object();

	json_put_string(event, "event", "result");
	json_put_string(event, "filesystem", "ext4");
	json_put_u64(event, "offset", result->offset);
	json_put_u64(event, "size_bytes", result->size_bytes);
	json_put_u64(event, "used_bytes", result->used_bytes);
	json_put_u64(event, "entries", result->entries);
	json_put_bool(event, "needs_recovery", result->needs_recovery);
	json_put_take(event, "config", result->config ? json_incref(result->config) : json_null());
	print_take(event);
}

void event_export(const ExportResult *result)
{
	json_t *event = json_object();

	json_put_string(event, "event", "result");
	json_put_string(event, "digest", result->digest);
	json_put_u64(event, "size_bytes", result->size_bytes);
	json_put_string(event, "diff_id", result->diff_id);
	json_put_u64(event, "entries", result->entries);
	print_take(event);
}

void event_verified(uint64_t size_bytes)
{
	json_t *event = json_object();

	json_put_string(event, "event", "result");
	json_put_u64(event, "size_bytes", size_bytes);
	print_take(event);
}

void event_error(const Error *error, const char *bad_blob)
{
	json_t *event = json_object();
	auto_free char *sentence = error_sentence(error);

	json_put_string(event, "event", "error");
	json_put_string(event, "code", error_code_word(error_code(error)));
	put_safe(event, "message", sentence);
	put_safe(event, "hint", error_hint_text(error));
	if (bad_blob)
		json_put_string(event, "blob", bad_blob);
	print_take(event);
}

void import_result_release(ImportResult *result)
{
	free(result->digest);
	free(result->reference);
	json_decref(result->config);
}
