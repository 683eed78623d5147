#include <stdlib.h>
#include <zlib.h>

#include "image/compress.h"
#include "util/mem.h"

/* Layers are written once and read a few times, over fast links: speed counts more than the last tenth of size. */
#define LEVEL	    1
#define GZIP_WINDOW (15 + 16) /* zlib's way to ask for a gzip header */
#define MEMORY	    8	      /* zlib's own default */

static void *zlib_open(void)
{
	z_stream *stream = xcalloc(1, sizeof(*stream));

	if (deflateInit2(stream, LEVEL, Z_DEFLATED, GZIP_WINDOW, MEMORY, Z_DEFAULT_STRATEGY) !=
	    Z_OK)
		abort(); /* out of memory, as in mem.h */
	return stream;
}

static void zlib_close(void *arg)
{
	(void)deflateEnd(arg);
	free(arg);
}

static int zlib_step(void *arg, CompressStep *step, Error **err)
{
	z_stream *stream = arg;
	int result;

	stream->next_in = (Bytef *)(uintptr_t)step->in;
	stream->avail_in = (uInt)step->in_size;
	stream->next_out = step->out;
	stream->avail_out = (uInt)step->out_size;
	result = deflate(stream, step->is_last ? Z_FINISH : Z_NO_FLUSH);
	/* Z_BUF_ERROR only says that there was nothing to do. */
	if (result == Z_STREAM_ERROR)
		return error_set(err, ERR_FAILED, "zlib cannot compress");
	step->in = stream->next_in;
	step->in_size = stream->avail_in;
	step->out = stream->next_out;
	step->out_size = stream->avail_out;
	return result == Z_STREAM_END;
}

const CompressLibrary compress_zlib = {
	.name = "zlib",
	.compression = COMPRESSION_GZIP,
	.open = zlib_open,
	.close = zlib_close,
	.step = zlib_step,
};
