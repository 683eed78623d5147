#include "image/inflate.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "util/mem.h"

#define GZIP_WINDOW_BITS (15 + 16) /* zlib's way to ask for gzip's format and nothing else */

typedef enum State {
	STATE_BEGIN,   /* nothing seen yet */
	STATE_INSIDE,  /* in a member or frame */
	STATE_BETWEEN, /* one has ended, another may follow */
	STATE_PADDING, /* zeros behind the last gzip member: nothing else may follow */
} State;

struct Inflater {
	Compression compression;
	State state;
	z_stream gzip;
	ZSTD_DCtx *zstd;
};

Inflater *inflater_new(Compression compression)
{
	Inflater *inflater = xcalloc(1, sizeof(*inflater));

	inflater->compression = compression;
	if (compression == COMPRESSION_GZIP &&
	    inflateInit2(&inflater->gzip, GZIP_WINDOW_BITS) != Z_OK)
		abort();
	if (compression == COMPRESSION_ZSTD) {
		inflater->zstd = ZSTD_createDCtx();
		if (!inflater->zstd)
			abort();
		(void)ZSTD_DCtx_setParameter(inflater->zstd, ZSTD_d_windowLogMax,
					     BLOB_MAX_WINDOW_LOG2);
	}
	return inflater;
}

void inflater_free(Inflater *inflater)
{
	if (!inflater)
		return;
	if (inflater->compression == COMPRESSION_GZIP)
		(void)inflateEnd(&inflater->gzip);
	ZSTD_freeDCtx(inflater->zstd);
	free(inflater);
}

static ssize_t copy(const unsigned char **data, size_t *size, void *out, size_t room)
{
	size_t part = *size < room ? *size : room;

	memcpy(out, *data, part);
	*data += part;
	*size -= part;
	return (ssize_t)part;
}

static int skip_zeros(const unsigned char **data, size_t *size, Error **err)
{
	for (; *size > 0; (*data)++, (*size)--)
		if (**data != 0)
			return error_set(err, ERR_FAILED, "something follows the gzip stream");
	return 0;
}

static ssize_t run_gzip(Inflater *inflater, const unsigned char **data, size_t *size, void *out,
			size_t room, Error **err)
{
	z_stream *gzip = &inflater->gzip;
	int status;

	if (inflater->state == STATE_BETWEEN && *size > 0) {
		if (**data == 0) {
			inflater->state = STATE_PADDING;
		} else {
			(void)inflateReset(gzip);
			inflater->state = STATE_INSIDE;
		}
	}
	if (inflater->state == STATE_PADDING)
		return skip_zeros(data, size, err);
	if (*size == 0 && inflater->state != STATE_INSIDE)
		return 0;

	inflater->state = STATE_INSIDE;
	gzip->next_in = (unsigned char *)(uintptr_t)*data; /* zlib's type lacks the const */
	gzip->avail_in = (unsigned)*size;
	gzip->next_out = out;
	gzip->avail_out = (unsigned)room;
	status = inflate(gzip, Z_NO_FLUSH);
	*data = gzip->next_in;
	*size = gzip->avail_in;
	if (status == Z_STREAM_END)
		inflater->state = STATE_BETWEEN;
	else if (status != Z_OK && status != Z_BUF_ERROR)
		return error_set(err, ERR_FAILED, "the gzip stream is damaged: %s",
				 gzip->msg ? gzip->msg : "unknown format");
	return (ssize_t)(room - gzip->avail_out);
}

static ssize_t run_zstd(Inflater *inflater, const unsigned char **data, size_t *size, void *out,
			size_t room, Error **err)
{
	ZSTD_inBuffer in = { *data, *size, 0 };
	ZSTD_outBuffer done = { out, room, 0 };
	size_t status;

	/* Without input, ask only for what a frame still holds back. */
	if (*size == 0 && inflater->state != STATE_INSIDE)
		return 0;
	status = ZSTD_decompressStream(inflater->zstd, &done, &in);
	*data += in.pos;
	*size -= in.pos;
	if (ZSTD_isError(status)) {
		error_set(err, ERR_FAILED, "the zstd stream is damaged: %s",
			  ZSTD_getErrorName(status));
		return -1;
	}
	inflater->state = status == 0 ? STATE_BETWEEN : STATE_INSIDE;
	return (ssize_t)done.pos;
}

ssize_t inflater_run(Inflater *inflater, const unsigned char **data, size_t *size, void *out,
		     size_t room, Error **err)
{
	switch (inflater->compression) {
	case COMPRESSION_GZIP:
		return run_gzip(inflater, data, size, out, room, err);
	case COMPRESSION_ZSTD:
		return run_zstd(inflater, data, size, out, room, err);
	case COMPRESSION_NONE:
	case COMPRESSION_GUESS:
		break;
	}
	inflater->state = STATE_BETWEEN;
	return copy(data, size, out, room);
}

bool inflater_at_end(const Inflater *inflater)
{
	if (inflater->compression == COMPRESSION_NONE)
		return true;
	return inflater->state == STATE_BETWEEN || inflater->state == STATE_PADDING;
}
