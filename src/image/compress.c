#include "image/compress.h"

#include <stdlib.h>
#include <zstd.h>

#ifdef EMBER_ISAL
#include <isa-l/igzip_lib.h>
#else
#include <zlib.h>
#endif

#include "util/mem.h"

/* Layers are written once and read a few times, over fast links: speed counts more than the last tenth of size. */
#define ZSTD_LEVEL 3

#ifdef EMBER_ISAL

typedef struct Gzip {
	struct isal_zstream stream;
	uint8_t level_buffer[ISAL_DEF_LVL1_DEFAULT];
} Gzip;

static void gzip_open(Gzip *gzip)
{
	isal_deflate_init(&gzip->stream);
	gzip->stream.gzip_flag = IGZIP_GZIP;
	gzip->stream.level = 1;
	gzip->stream.level_buf = gzip->level_buffer;
	gzip->stream.level_buf_size = sizeof(gzip->level_buffer);
}

static void gzip_close(Gzip *gzip)
{
	(void)gzip; /* owns nothing */
}

static int gzip_step(Gzip *gzip, CompressStep *step, Error **err)
{
	struct isal_zstream *stream = &gzip->stream;

	/* The library never writes through it, but does not say so. */
	stream->next_in = (uint8_t *)(uintptr_t)step->in;
	stream->avail_in = (uint32_t)step->in_size;
	stream->next_out = step->out;
	stream->avail_out = (uint32_t)step->out_size;
	stream->end_of_stream = step->is_last;
	if (isal_deflate(stream) != COMP_OK)
		return error_set(err, ERR_FAILED, "isa-l cannot compress");
	step->in = stream->next_in;
	step->in_size = stream->avail_in;
	step->out = stream->next_out;
	step->out_size = stream->avail_out;
	return step->is_last && stream->internal_state.state == ZSTATE_END;
}

#else

#define ZLIB_LEVEL	 1
#define ZLIB_GZIP_WINDOW (15 + 16)

typedef struct Gzip {
	z_stream stream;
} Gzip;

static void gzip_open(Gzip *gzip)
{
	if (deflateInit2(&gzip->stream, ZLIB_LEVEL, Z_DEFLATED, ZLIB_GZIP_WINDOW, 8,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		abort(); /* as when memory runs out: it has nothing else to fail at */
}

static void gzip_close(Gzip *gzip)
{
	(void)deflateEnd(&gzip->stream);
}

static int gzip_step(Gzip *gzip, CompressStep *step, Error **err)
{
	z_stream *stream = &gzip->stream;
	int result;

	stream->next_in = (uint8_t *)(uintptr_t)step->in;
	stream->avail_in = (uInt)step->in_size;
	stream->next_out = step->out;
	stream->avail_out = (uInt)step->out_size;
	result = deflate(stream, step->is_last ? Z_FINISH : Z_NO_FLUSH);
	if (result == Z_STREAM_ERROR)
		return error_set(err, ERR_FAILED, "zlib cannot compress");
	step->in = stream->next_in;
	step->in_size = stream->avail_in;
	step->out = stream->next_out;
	step->out_size = stream->avail_out;
	return result == Z_STREAM_END;
}

#endif

struct Compressor {
	ZSTD_CCtx *zstd; /* NULL: gzip */
	Gzip gzip;
};

Compressor *compressor_open(Compression compression)
{
	Compressor *compressor = xcalloc(1, sizeof(*compressor));

	if (compression != COMPRESSION_ZSTD) {
		gzip_open(&compressor->gzip);
		return compressor;
	}
	compressor->zstd = ZSTD_createCCtx();
	if (!compressor->zstd ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(compressor->zstd, ZSTD_c_compressionLevel,
						ZSTD_LEVEL)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(compressor->zstd, ZSTD_c_checksumFlag, 1)))
		abort(); /* as when memory runs out */
	return compressor;
}

void compressor_close(Compressor *compressor)
{
	if (!compressor)
		return;
	if (compressor->zstd)
		(void)ZSTD_freeCCtx(compressor->zstd);
	else
		gzip_close(&compressor->gzip);
	free(compressor);
}

static int zstd_step(ZSTD_CCtx *zstd, CompressStep *step, Error **err)
{
	ZSTD_inBuffer in = { step->in, step->in_size, 0 };
	ZSTD_outBuffer out = { step->out, step->out_size, 0 };
	size_t left =
		ZSTD_compressStream2(zstd, &out, &in, step->is_last ? ZSTD_e_end : ZSTD_e_continue);

	if (ZSTD_isError(left))
		return error_set(err, ERR_FAILED, "zstd cannot compress: %s",
				 ZSTD_getErrorName(left));
	step->in += in.pos;
	step->in_size -= in.pos;
	step->out += out.pos;
	step->out_size -= out.pos;
	return step->is_last && left == 0;
}

int compressor_step(Compressor *compressor, CompressStep *step, Error **err)
{
	return compressor->zstd ? zstd_step(compressor->zstd, step, err)
				: gzip_step(&compressor->gzip, step, err);
}
