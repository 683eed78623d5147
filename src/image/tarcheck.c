#include "image/tarcheck.h"

#include <string.h>

#include "util/mem.h"

/* Where the fields of a header block are. */
enum {
	SIZE_AT = 124,
	SIZE_LENGTH = 12,
	CHECKSUM_AT = 148,
	CHECKSUM_LENGTH = 8,
	TYPE_AT = 156,
	GNU_EXTENDED_AT = 482, /* of an old sparse header: a map block follows */
	MAP_EXTENDED_AT = 504, /* of such a block */
};

void tarcheck_release(TarCheck *check)
{
	strbuf_release(&check->extension);
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
	uint64_t sum = ' ' * CHECKSUM_LENGTH;

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

static int check_pax_record(TarCheck *check, const char *key, size_t key_length, const char *value,
			    size_t value_length, Error **err)
{
	static const char *const attributes[] = { "SCHILY.xattr.", "LIBARCHIVE.xattr." };
	static const char *const no_nul[] = { "path", "linkpath", "GNU.sparse.name", "uname",
					      "gname" };

	for (size_t i = 0; i < ARRAY_SIZE(no_nul); i++)
		if (key_length == strlen(no_nul[i]) && !memcmp(key, no_nul[i], key_length) &&
		    memchr(value, '\0', value_length))
			return refuse("a name contains a NUL byte", err);
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		size_t length = strlen(attributes[i]);

		if (key_length >= length && !memcmp(key, attributes[i], length) &&
		    (key_length == length || key[key_length - 1] == '.' ||
		     memchr(key, '\0', key_length)))
			return refuse("an extended attribute has no name", err);
	}
	if (key_length == strlen("size") && !memcmp(key, "size", key_length) && value_length) {
		auto_free char *text = xstrndup(value, value_length);

		if (check->extension_type != 'x')
			return refuse("a global header gives a size", err);
		if (!str_parse_u64(text, INT64_MAX, &check->pending_size))
			return refuse("a pax header gives a size that is no number", err);
		check->has_size = true;
	}
	return 0;
}

/* "LENGTH KEY=VALUE\n", LENGTH counting all of it. */
static int check_pax(TarCheck *check, Error **err)
{
	const char *at = check->extension.text;
	size_t left = check->extension.len;

	while (left > 0) {
		size_t length = 0;
		size_t digits = 0;
		const char *key, *equals;

		for (; digits < left && digits < 8 && at[digits] >= '0' && at[digits] <= '9';
		     digits++)
			length = 10 * length + (size_t)(at[digits] - '0');
		if (!digits || length > left || length < digits + 4 || at[digits] != ' ' ||
		    at[length - 1] != '\n')
			return refuse("a pax header is malformed", err);
		key = at + digits + 1;
		equals = memchr(key, '=', length - digits - 2);
		if (!equals || equals == key)
			return refuse("a pax header is malformed", err);
		if (check_pax_record(check, key, (size_t)(equals - key), equals + 1,
				     length - (size_t)(equals + 1 - at) - 1, err) < 0)
			return -1;
		at += length;
		left -= length;
	}
	return 0;
}

/* GNU 'L' and 'K': a name, closed by NUL bytes. */
static int check_long_name(const TarCheck *check, Error **err)
{
	const char *text = strbuf_str(&check->extension);
	size_t length = strlen(text);

	if (!is_zero((const unsigned char *)text + length, check->extension.len - length))
		return refuse("a name contains a NUL byte", err);
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
	/* Of repeated headers the last one wins. */
	if (type == 'x')
		check->has_size = false;
	check->extension_type = type;
	check->extension_size = size;
	check->extension_left = padded(size);
	check->extension.max = TAR_MAX_EXTENSION;
	check->state = TAR_EXTENSION;
	return check->extension_left ? 0 : finish_extension(check, err);
}

static int begin_member(TarCheck *check, char type, uint64_t size, Error **err)
{
	bool has_sparse_map = type == 'S' && check->block[GNU_EXTENDED_AT];

	if (check->has_size)
		size = check->pending_size;
	/* Readers differ in whether such a member has data. */
	if ((type == '1' || type == 'V') && size)
		return refuse("a hard link or volume label has content", err);
	/* These have none, whatever their size field says. */
	if (type >= '2' && type <= '6')
		size = 0;
	check->skip = padded(size);
	check->is_pending = type == 'V' ? check->is_pending : false;
	check->has_size = type == 'V' ? check->has_size : false;
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
