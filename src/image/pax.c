#include "image/pax.h"

#include <string.h>

#include "image/acl.h"
#include "image/layers.h"
#include "util/mem.h"
#include "util/str.h"

#define SCHILY	   "SCHILY.xattr."
#define LIBARCHIVE "LIBARCHIVE.xattr."

/* One record; key and value are not terminated. */
typedef struct Record {
	const char *key;
	size_t key_length;
	const char *value;
	size_t value_length;
} Record;

void pax_facts_release(PaxFacts *facts)
{
	inode_free(facts->attributes);
	*facts = (PaxFacts){ 0 };
}

static int refuse(const char *why, Error **err)
{
	return error_set(err, ERR_FAILED, "the layer's tar is damaged: a pax header %s", why);
}

static bool key_is(const Record *record, const char *key)
{
	return record->key_length == strlen(key) && !memcmp(record->key, key, record->key_length);
}

static bool key_begins(const Record *record, const char *prefix)
{
	size_t length = strlen(prefix);

	return record->key_length >= length && !memcmp(record->key, prefix, length);
}

static bool is_digits(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

static Inode *attributes_of(PaxFacts *facts)
{
	if (!facts->attributes)
		facts->attributes = inode_new(S_IFDIR);
	return facts->attributes;
}

/* "-1.5" is half a second before -1: libarchive 3.6 takes it for half a second after. */
static void keep_early_time(const char *seconds, const char *fraction, PaxFacts *facts)
{
	uint32_t ns = 0;
	uint64_t whole = 0;

	for (uint32_t i = 0, unit = 100000000; i < 9 && fraction[i]; i++, unit /= 10)
		ns += (uint32_t)(fraction[i] - '0') * unit;
	if (seconds[0] != '-' || !ns || !str_parse_u64(seconds + 1, INT64_MAX - 1, &whole))
		return;
	attributes_of(facts)->mtime = -(int64_t)whole - 1;
	attributes_of(facts)->mtime_ns = 1000000000u - ns;
	facts->has_early_time = true;
}

static int check_time(char *text, PaxFacts *facts, Error **err)
{
	char *fraction = strchr(text, '.');

	if (fraction)
		*fraction++ = '\0';
	if (!is_digits(*text == '-' ? text + 1 : text) ||
	    (fraction && *fraction && !is_digits(fraction)))
		return refuse("has a time that is none", err);
	facts->has_early_time = false;
	if (fraction)
		keep_early_time(text, fraction, facts);
	return 0;
}

static int check_number(const Record *record, PaxFacts *facts, Error **err)
{
	auto_free char *text = xstrndup(record->value, record->value_length);

	/* An empty value takes the record back. */
	if (!record->value_length)
		return 0;
	if (strlen(text) != record->value_length)
		return refuse("has a number that is none", err);
	if (key_is(record, "mtime"))
		return check_time(text, facts, err);
	if (!is_digits(text))
		return refuse("has a number that is none", err);
	if (key_is(record, "size")) {
		if (!str_parse_u64(text, INT64_MAX, &facts->size))
			return refuse("has a size out of range", err);
		facts->has_size = true;
	}
	return 0;
}

static int check_name(const Record *record, PaxFacts *facts, Error **err)
{
	if (memchr(record->value, '\0', record->value_length))
		return refuse("has a name with a NUL byte", err);
	if (key_is(record, "path"))
		facts->has_path = record->value_length > 0;
	if (key_is(record, "linkpath"))
		facts->has_linkpath = record->value_length > 0;
	if ((key_is(record, "path") || key_is(record, "GNU.sparse.name")) && record->value_length &&
	    record->value[record->value_length - 1] == '/')
		facts->names_directory = true;
	return 0;
}

static int check_xattr(const Record *record, const char *prefix, PaxFacts *facts, Error **err)
{
	auto_free char *name =
		xstrndup(record->key + strlen(prefix), record->key_length - strlen(prefix));

	if (!*name || str_ends_with(name, ".") ||
	    strlen(name) != record->key_length - strlen(prefix))
		return refuse("has an extended attribute without a name", err);
	if (!strcmp(prefix, LIBARCHIVE)) {
		facts->has_libarchive = true;
		return 0;
	}
	/* The exact bound is the file's; this one only keeps a header of tens of thousands from being searched for ever. */
	facts->xattr_bytes += strlen(name) + record->value_length;
	if (facts->xattr_bytes > 2 * (size_t)XATTR_MAX_BYTES)
		return refuse("has far more than 64 KiB of extended attributes", err);
	inode_set_xattr(attributes_of(facts), name, record->value, record->value_length);
	return 0;
}

/* What is in it, xattr.c sees. */
static int keep_acl(const Record *record, const char *name, PaxFacts *facts)
{
	/* An empty value takes the record back. */
	if (!record->value_length)
		return 0;
	facts->xattr_bytes += record->value_length;
	facts->has_acl = true;
	inode_set_xattr(attributes_of(facts), name, record->value, record->value_length);
	return 0;
}

static int check_record(const Record *record, PaxFacts *facts, Error **err)
{
	static const char *const names[] = { "path", "linkpath", "GNU.sparse.name" };
	static const char *const acls[] = { ACL_TEXT_ACCESS, ACL_TEXT_DEFAULT };
	static const char *const numbers[] = { "size", "uid", "gid", "mtime" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (key_is(record, names[i]))
			return check_name(record, facts, err);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (key_is(record, numbers[i]))
			return check_number(record, facts, err);
	for (size_t i = 0; i < ARRAY_SIZE(acls); i++)
		if (key_is(record, acls[i]))
			return keep_acl(record, acls[i], facts);
	if (key_begins(record, SCHILY))
		return check_xattr(record, SCHILY, facts, err);
	if (key_begins(record, LIBARCHIVE))
		return check_xattr(record, LIBARCHIVE, facts, err);
	return 0;
}

/* Cut the first record off `text`; returns its length, 0 when it is malformed. */
static size_t cut_record(const char *text, size_t left, Record *out)
{
	size_t length = 0;
	size_t digits = 0;
	const char *equals;

	/* A header has at most 1 MiB: seven digits. */
	for (; digits < left && digits < 8 && text[digits] >= '0' && text[digits] <= '9'; digits++)
		length = 10 * length + (size_t)(text[digits] - '0');
	if (!digits || length > left || length < digits + 4 || text[digits] != ' ' ||
	    text[length - 1] != '\n')
		return 0;
	out->key = text + digits + 1;
	equals = memchr(out->key, '=', length - digits - 2);
	if (!equals || equals == out->key)
		return 0;
	out->key_length = (size_t)(equals - out->key);
	out->value = equals + 1;
	out->value_length = length - (size_t)(out->value - text) - 1;
	return length;
}

int pax_check(const char *text, size_t length, PaxFacts *out, Error **err)
{
	auto_pax_facts PaxFacts facts = { 0 };

	for (size_t at = 0, part; at < length; at += part) {
		Record record;

		part = cut_record(text + at, length - at, &record);
		if (!part)
			return refuse("is malformed", err);
		if (check_record(&record, &facts, err) < 0)
			return -1;
	}
	*out = facts;
	facts = (PaxFacts){ 0 };
	return 0;
}
