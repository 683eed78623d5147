#include <stdlib.h>
#include <zlib.h>

#include "image/deflate.h"
#include "util/mem.h"

#define RAW_WINDOW_BITS (-15) /* zlib's way to ask for deflate without a wrapper */

typedef struct ZlibStream {
	z_stream zlib;
	uint32_t crc;
} ZlibStream;

static void *zlib_open(void)
{
	ZlibStream *stream = xcalloc(1, sizeof(*stream));

	if (inflateInit2(&stream->zlib, RAW_WINDOW_BITS) != Z_OK)
		abort(); /* out of memory, as in mem.h */
	return stream;
}

static void zlib_close(void *arg)
{
	ZlibStream *stream = arg;

	(void)inflateEnd(&stream->zlib);
	free(stream);
}

static void zlib_reset(void *arg)
{
	ZlibStream *stream = arg;

	(void)inflateReset(&stream->zlib);
	stream->crc = 0;
}

static ssize_t zlib_run(void *arg, DeflateInput *input, void *out, size_t room, Error **err)
{
	ZlibStream *stream = arg;
	z_stream *zlib = &stream->zlib;
	size_t got;
	int status;

	zlib->next_in = (unsigned char *)(uintptr_t)input->data; /* zlib's type lacks the const */
	zlib->avail_in = (unsigned)input->size;
	zlib->next_out = out;
	zlib->avail_out = (unsigned)room;
	status = inflate(zlib, Z_NO_FLUSH);
	input->data = zlib->next_in;
	input->size = zlib->avail_in;
	input->ended = status == Z_STREAM_END;
	input->unread_count = 0; /* it takes no more bytes in than it needs */
	if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
		return error_set(err, ERR_FAILED, "the gzip stream is damaged: %s",
				 zlib->msg ? zlib->msg : "invalid data");
	got = room - zlib->avail_out;
	stream->crc = (uint32_t)crc32_z(stream->crc, out, got);
	return (ssize_t)got;
}

static uint32_t zlib_crc(const void *arg)
{
	const ZlibStream *stream = arg;

	return stream->crc;
}

const DeflateLibrary deflate_zlib = {
	.name = "zlib",
	.open = zlib_open,
	.close = zlib_close,
	.reset = zlib_reset,
	.run = zlib_run,
	.crc = zlib_crc,
};
