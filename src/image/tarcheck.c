#include "image/tarcheck.h"

#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

/* Where the fields of a header block are. */
enum {
	NAME_LENGTH = 100,
	SIZE_AT = 124,
	SIZE_LENGTH = 12,
	CHECKSUM_AT = 148,
	CHECKSUM_LENGTH = 8,
	TYPE_AT = 156,
	GNU_EXTENDED_AT = 482, /* of an old sparse header: a map block follows */
	MAP_EXTENDED_AT = 504, /* of such a block */
};

void tar_override_release(TarOverride *override)
{
	inode_free(override->attributes);
	*override = (TarOverride){ 0 };
}

void tarcheck_release(TarCheck *check)
{
	strbuf_release(&check->extension);
	pax_facts_release(&check->pending);
	for (size_t i = 0; i < check->override_count; i++)
		tar_override_release(&check->overrides[i]);
	free(check->overrides);
}

static bool is_zero(const unsigned char *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (data[i])
			return false;
	return true;
}

/* An octal field, or GNU's base-256 for what octal cannot hold. */
static bool parse_number(const unsigned char *field, size_t length, uint64_t *out)
{
	uint64_t value = 0;
	size_t i = 0;

	if (field[0] & 0x80) {
		value = field[0] & 0x3f;
		if (field[0] & 0x40) /* negative */
			return false;
		for (i = 1; i < length; i++) {
			if (value >> 55)
				return false;
			value = value << 8 | field[i];
		}
		*out = value;
		return true;
	}
	while (i < length && field[i] == ' ')
		i++;
	for (; i < length && field[i] >= '0' && field[i] <= '7'; i++) {
		if (value >> 60)
			return false;
		value = value << 3 | (uint64_t)(field[i] - '0');
	}
	*out = value;
	return i == length || field[i] == ' ' || field[i] == '\0';
}

static bool checksum_is_right(const unsigned char *block)
{
	uint64_t stated;
	uint64_t sum = (uint64_t)' ' * CHECKSUM_LENGTH;

	for (size_t i = 0; i < TAR_BLOCK; i++)
		if (i < CHECKSUM_AT || i >= CHECKSUM_AT + CHECKSUM_LENGTH)
			sum += block[i];
	return parse_number(block + CHECKSUM_AT, CHECKSUM_LENGTH, &stated) && stated == sum;
}

static int refuse(const char *why, Error **err)
{
	return error_set(err, ERR_FAILED, "the layer's tar is damaged: %s", why);
}

/* An extended header describes the member behind it: there must be one. */
static int refuse_pending(const TarCheck *check, Error **err)
{
	return check->is_pending ? refuse("an extended header is followed by nothing", err) : 0;
}

static uint64_t padded(uint64_t size)
{
	return (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

static int check_pax(TarCheck *check, Error **err)
{
	auto_pax_facts PaxFacts facts = { 0 };

	if (pax_check(strbuf_str(&check->extension), check->extension.len, &facts, err) < 0)
		return -1;
	if (check->extension_type == 'g') {
		/* libarchive ignores global headers; one that gives a size would be a trap. */
		return facts.has_size ? refuse("a global header gives a size", err) : 0;
	}
	pax_facts_release(&check->pending);
	check->pending = facts;
	facts = (PaxFacts){ 0 };
	return 0;
}

/* GNU 'L' and 'K': a name, closed by NUL bytes. */
static int check_long_name(TarCheck *check, Error **err)
{
	const char *text = strbuf_str(&check->extension);
	size_t length = strlen(text);

	if (!is_zero((const unsigned char *)text + length, check->extension.len - length))
		return refuse("a name contains a NUL byte", err);
	if (check->extension_type == 'K') {
		check->has_long_link = true;
		return 0;
	}
	check->has_long_name = true;
	check->names_directory = length && text[length - 1] == '/';
	return 0;
}

static int finish_extension(TarCheck *check, Error **err)
{
	int status = check->extension_type == 'x' || check->extension_type == 'g'
			     ? check_pax(check, err)
			     : check_long_name(check, err);

	check->is_pending = check->is_pending || check->extension_type != 'g';
	check->state = TAR_HEADER;
	strbuf_clear(&check->extension);
	return status;
}

static int begin_extension(TarCheck *check, char type, uint64_t size, Error **err)
{
	if (size > TAR_MAX_EXTENSION) {
		error_set(err, ERR_UNSUPPORTED, "an extended tar header is larger than 1 MiB");
		return -1;
	}
	check->extension_type = type;
	check->extension_size = size;
	check->extension_left = padded(size);
	check->extension.max = TAR_MAX_EXTENSION;
	check->state = TAR_EXTENSION;
	return check->extension_left ? 0 : finish_extension(check, err);
}

/* Keep what libarchive gets wrong until its reader comes to this member. */
static void keep_override(TarCheck *check)
{
	TarOverride override = {
		.member = check->members,
		.has_xattrs = (check->pending.has_libarchive || check->pending.has_acl) &&
			      check->pending.attributes,
		.has_mtime = check->pending.has_early_time,
	};

	if (!override.has_xattrs && !override.has_mtime)
		return;
	override.attributes = steal(&check->pending.attributes);
	check->overrides =
		xreallocarray(check->overrides, check->override_count + 1, sizeof(override));
	check->overrides[check->override_count++] = override;
}

TarOverride tarcheck_take_override(TarCheck *check, uint64_t member)
{
	TarOverride override = { 0 };

	if (!check->override_count || check->overrides[0].member != member)
		return override;
	override = check->overrides[0];
	check->override_count--;
	memmove(check->overrides, check->overrides + 1,
		check->override_count * sizeof(*check->overrides));
	return override;
}

/* A regular file whose name ends with "/" was a directory before there were directories. */
static bool names_directory(const TarCheck *check)
{
	size_t length = strnlen((const char *)check->block, NAME_LENGTH);

	return check->names_directory || check->pending.names_directory ||
	       (length && check->block[length - 1] == '/');
}

/* Readers differ in whether a member has data that should have none: then it must not say that it has. */
static int check_size(const TarCheck *check, char type, uint64_t size, Error **err)
{
	bool has_size = check->pending.has_size && check->pending.size;

	if (!size && !has_size)
		return 0;
	if (type == '1' || type == 'V' || (type >= '2' && type <= '6' && has_size))
		return refuse("a member that is no file has content", err);
	if ((type == '0' || type == '\0' || type == '7' || type == 'S') && names_directory(check))
		return refuse("a directory has content", err);
	return 0;
}

/* Readers differ in which of two names counts, a pax header's or GNU's. */
static int check_names(const TarCheck *check, Error **err)
{
	if ((check->has_long_name && check->pending.has_path) ||
	    (check->has_long_link && check->pending.has_linkpath))
		return refuse("a member has long names of two kinds", err);
	return 0;
}

static int begin_member(TarCheck *check, char type, uint64_t size, Error **err)
{
	bool has_sparse_map = type == 'S' && check->block[GNU_EXTENDED_AT];

	if (check_names(check, err) < 0 || check_size(check, type, size, err) < 0)
		return -1;
	if (type == 'V')
		return 0;
	if (check->pending.has_size)
		size = check->pending.size;
	/* These have no data, whatever their size field says. */
	if (type >= '2' && type <= '6')
		size = 0;
	check->members++;
	keep_override(check);
	pax_facts_release(&check->pending);
	check->has_long_name = check->has_long_link = check->names_directory = false;
	check->is_pending = false;
	check->skip = padded(size);
	check->state = has_sparse_map ? TAR_SPARSE_MAP : check->skip ? TAR_DATA : TAR_HEADER;
	return 0;
}

static int check_header(TarCheck *check, Error **err)
{
	char type = (char)check->block[TYPE_AT];
	uint64_t size;

	if (is_zero(check->block, TAR_BLOCK)) {
		check->state = TAR_END;
		return refuse_pending(check, err);
	}
	if (!checksum_is_right(check->block))
		return check->is_tar ? refuse("a header's checksum is wrong", err)
				     : error_set(err, ERR_FAILED, "the layer is not a tar archive");
	check->is_tar = true;
	if (!parse_number(check->block + SIZE_AT, SIZE_LENGTH, &size) ||
	    size > INT64_MAX - TAR_BLOCK)
		return refuse("a member's size is no number", err);
	switch (type) {
	case 'x':
	case 'g':
	case 'L':
	case 'K':
		return begin_extension(check, type, size, err);
	case '\0':
	case '0':
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
	case '7':
	case 'S':
	case 'V':
		return begin_member(check, type, size, err);
	case 'M':
		return error_set(err, ERR_UNSUPPORTED, "the layer is a part of a multi-volume tar");
	default:
		return error_set(err, ERR_UNSUPPORTED,
				 "the layer has a tar member of unknown type 0x%02x",
				 (unsigned char)type);
	}
}

/* A whole block has been gathered. */
static int check_block(TarCheck *check, Error **err)
{
	check->block_used = 0;
	if (check->state == TAR_HEADER)
		return check_header(check, err);
	if (check->state == TAR_SPARSE_MAP && !check->block[MAP_EXTENDED_AT])
		check->state = check->skip ? TAR_DATA : TAR_HEADER;
	return 0;
}

/* Consume some bytes; returns how many, -1 on error. */
static ssize_t consume(TarCheck *check, const unsigned char *data, size_t size, Error **err)
{
	size_t part = size;

	switch (check->state) {
	case TAR_HEADER:
	case TAR_SPARSE_MAP:
		if (part > TAR_BLOCK - check->block_used)
			part = TAR_BLOCK - check->block_used;
		memcpy(check->block + check->block_used, data, part);
		check->block_used += part;
		if (check->block_used == TAR_BLOCK && check_block(check, err) < 0)
			return -1;
		break;
	case TAR_EXTENSION:
		if (part > check->extension_left)
			part = check->extension_left;
		if (check->extension.len < check->extension_size) {
			size_t want = check->extension_size - check->extension.len;

			strbuf_add(&check->extension, data, part < want ? part : want);
		}
		check->extension_left -= part;
		if (!check->extension_left && finish_extension(check, err) < 0)
			return -1;
		break;
	case TAR_DATA:
		if (part > check->skip)
			part = check->skip;
		check->skip -= part;
		if (!check->skip)
			check->state = TAR_HEADER;
		break;
	case TAR_END:
		if (!is_zero(data, part))
			return refuse("something follows its end", err);
		break;
	}
	return (ssize_t)part;
}

int tarcheck_feed(TarCheck *check, const void *data, size_t size, Error **err)
{
	const unsigned char *bytes = data;

	while (size > 0) {
		ssize_t part = consume(check, bytes, size, err);

		if (part < 0)
			return -1;
		bytes += part;
		size -= (size_t)part;
	}
	return 0;
}

int tarcheck_end(const TarCheck *check, Error **err)
{
	if (check->state != TAR_END && (check->state != TAR_HEADER || check->block_used)) {
		error_set(err, ERR_FAILED, "the layer is cut short");
		return error_hint(err, "fetch the image again");
	}
	return refuse_pending(check, err);
}
