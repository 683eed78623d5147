#include "image/gzip.h"

#include <stdlib.h>
#include <zlib.h>

#include "util/mem.h"

typedef enum GzipState {
	GZIP_FIXED,	   /* the ten bytes that every member begins with */
	GZIP_EXTRA_LENGTH, /* two bytes */
	GZIP_EXTRA,
	GZIP_NAME, /* to a NUL, as the next */
	GZIP_COMMENT,
	GZIP_HEADER_CRC, /* two bytes */
	GZIP_BODY,
	GZIP_TRAILER, /* CRC-32 and length, four bytes each */
	GZIP_BETWEEN, /* one has ended, another may follow */
	GZIP_PADDING, /* zeros: nothing else may follow */
} GzipState;

enum {
	FIXED_BYTES = 10,
	TRAILER_BYTES = 8,
	METHOD_DEFLATE = 8,
	FLAG_HEADER_CRC = 2,
	FLAG_EXTRA = 4,
	FLAG_NAME = 8,
	FLAG_COMMENT = 16,
	FLAGS_RESERVED = 0xe0,
};

struct Gzip {
	const DeflateLibrary *library;
	void *stream;
	GzipState state;
	unsigned char field[FIXED_BYTES]; /* being gathered */
	size_t used;			  /* bytes of it, or of the extra field */
	size_t extra;			  /* bytes of that field */
	unsigned flags;
	uint32_t header_crc; /* of the header so far */
	uint32_t header_sum; /* of all of it before its own checksum */
	uint32_t length;     /* of what came out of this member, modulo 2^32 */
};

Gzip *gzip_new(const DeflateLibrary *library)
{
	Gzip *gzip = xcalloc(1, sizeof(*gzip));

	gzip->library = library;
	gzip->stream = library->open();
	return gzip;
}

void gzip_free(Gzip *gzip)
{
	if (!gzip)
		return;
	gzip->library->close(gzip->stream);
	free(gzip);
}

static int damaged(const char *why, Error **err)
{
	return error_set(err, ERR_FAILED, "the gzip stream is damaged: %s", why);
}

static uint32_t little_endian(const unsigned char *bytes, size_t count)
{
	uint32_t value = 0;

	while (count > 0)
		value = value << 8 | bytes[--count];
	return value;
}

static void enter(Gzip *gzip, GzipState state)
{
	gzip->state = state;
	gzip->used = 0;
}

/* What comes next in the header depends on the flags whose fields are still to come. */
static void next_field(Gzip *gzip)
{
	static const struct {
		unsigned flag;
		GzipState state;
	} fields[] = {
		{ FLAG_EXTRA, GZIP_EXTRA_LENGTH },
		{ FLAG_NAME, GZIP_NAME },
		{ FLAG_COMMENT, GZIP_COMMENT },
		{ FLAG_HEADER_CRC, GZIP_HEADER_CRC },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (!(gzip->flags & fields[i].flag))
			continue;
		gzip->flags &= ~fields[i].flag;
		enter(gzip, fields[i].state);
		return;
	}
	gzip->library->reset(gzip->stream);
	gzip->length = 0;
	enter(gzip, GZIP_BODY);
}

static int check_fixed(Gzip *gzip, Error **err)
{
	const unsigned char *field = gzip->field;

	if (field[0] != 0x1f || field[1] != 0x8b)
		return damaged("incorrect header", err);
	if (field[2] != METHOD_DEFLATE)
		return damaged("unknown compression method", err);
	if (field[3] & FLAGS_RESERVED)
		return damaged("unknown header flags", err);
	gzip->flags = field[3];
	next_field(gzip);
	return 0;
}

static int check_trailer(Gzip *gzip, Error **err)
{
	if (little_endian(gzip->field, 4) != gzip->library->crc(gzip->stream))
		return damaged("incorrect checksum", err);
	if (little_endian(gzip->field + 4, 4) != gzip->length)
		return damaged("incorrect length", err);
	enter(gzip, GZIP_BETWEEN);
	return 0;
}

/* Gather a field of `size` bytes; true when this byte completes it. */
static bool gather(Gzip *gzip, unsigned char byte, size_t size)
{
	gzip->field[gzip->used++] = byte;
	return gzip->used == size;
}

/* A byte outside of the deflated data. */
static int take_byte(Gzip *gzip, unsigned char byte, Error **err)
{
	if (gzip->state == GZIP_HEADER_CRC && gzip->used == 0)
		gzip->header_sum = gzip->header_crc & 0xffff;
	if (gzip->state < GZIP_BODY)
		gzip->header_crc = (uint32_t)crc32(gzip->header_crc, &byte, 1);
	switch (gzip->state) {
	case GZIP_FIXED:
		return gather(gzip, byte, FIXED_BYTES) ? check_fixed(gzip, err) : 0;
	case GZIP_EXTRA_LENGTH:
		if (gather(gzip, byte, 2)) {
			gzip->extra = little_endian(gzip->field, 2);
			enter(gzip, GZIP_EXTRA);
			if (!gzip->extra)
				next_field(gzip);
		}
		return 0;
	case GZIP_EXTRA:
		if (++gzip->used == gzip->extra)
			next_field(gzip);
		return 0;
	case GZIP_NAME:
	case GZIP_COMMENT:
		if (!byte)
			next_field(gzip);
		return 0;
	case GZIP_HEADER_CRC:
		if (!gather(gzip, byte, 2))
			return 0;
		if (little_endian(gzip->field, 2) != gzip->header_sum)
			return damaged("incorrect header checksum", err);
		next_field(gzip);
		return 0;
	case GZIP_TRAILER:
		return gather(gzip, byte, TRAILER_BYTES) ? check_trailer(gzip, err) : 0;
	case GZIP_BETWEEN:
		gzip->header_crc = 0;
		enter(gzip, byte ? GZIP_FIXED : GZIP_PADDING);
		return take_byte(gzip, byte, err);
	case GZIP_PADDING:
		return byte ? error_set(err, ERR_FAILED, "something follows the gzip stream") : 0;
	case GZIP_BODY:
		break;
	}
	return damaged("incorrect state", err);
}

static ssize_t run_body(Gzip *gzip, const unsigned char **data, size_t *size, void *out,
			size_t room, Error **err)
{
	DeflateInput input = { .data = *data, .size = *size };
	ssize_t got = gzip->library->run(gzip->stream, &input, out, room, err);

	if (got < 0)
		return -1;
	*data = input.data;
	*size = input.size;
	gzip->length += (uint32_t)got;
	if (!input.ended)
		return got;
	enter(gzip, GZIP_TRAILER);
	for (size_t i = 0; i < input.unread_count; i++)
		if (take_byte(gzip, input.unread[i], err) < 0)
			return -1;
	return got;
}

ssize_t gzip_run(Gzip *gzip, const unsigned char **data, size_t *size, void *out, size_t room,
		 Error **err)
{
	for (;;) {
		if (gzip->state == GZIP_BODY) {
			ssize_t got = run_body(gzip, data, size, out, room, err);

			if (got != 0 || gzip->state == GZIP_BODY)
				return got;
		}
		if (!*size)
			return 0;
		if (take_byte(gzip, *(*data)++, err) < 0)
			return -1;
		(*size)--;
	}
}

bool gzip_at_end(const Gzip *gzip)
{
	return gzip->state == GZIP_BETWEEN || gzip->state == GZIP_PADDING;
}
