#include "image/inflate.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "image/gzip.h"
#include "util/mem.h"

struct Inflater {
	Compression compression;
	bool is_inside; /* a zstd frame */
	bool has_begun;
	Gzip *gzip;
	ZSTD_DCtx *zstd;
};

Inflater *inflater_new(Compression compression, const DeflateLibrary *deflate)
{
	Inflater *inflater = xcalloc(1, sizeof(*inflater));

	inflater->compression = compression;
	if (compression == COMPRESSION_GZIP)
		inflater->gzip = gzip_new(deflate);
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
	gzip_free(inflater->gzip);
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

static ssize_t run_zstd(Inflater *inflater, const unsigned char **data, size_t *size, void *out,
			size_t room, Error **err)
{
	ZSTD_inBuffer in = { *data, *size, 0 };
	ZSTD_outBuffer done = { out, room, 0 };
	size_t status;

	/* Without input, ask only for what a frame still holds back. */
	if (*size == 0 && !inflater->is_inside)
		return 0;
	status = ZSTD_decompressStream(inflater->zstd, &done, &in);
	*data += in.pos;
	*size -= in.pos;
	if (ZSTD_isError(status)) {
		error_set(err, ERR_FAILED, "the zstd stream is damaged: %s",
			  ZSTD_getErrorName(status));
		return -1;
	}
	inflater->has_begun = true;
	inflater->is_inside = status != 0;
	return (ssize_t)done.pos;
}

ssize_t inflater_run(Inflater *inflater, const unsigned char **data, size_t *size, void *out,
		     size_t room, Error **err)
{
	switch (inflater->compression) {
	case COMPRESSION_GZIP:
		return gzip_run(inflater->gzip, data, size, out, room, err);
	case COMPRESSION_ZSTD:
		return run_zstd(inflater, data, size, out, room, err);
	case COMPRESSION_NONE:
	case COMPRESSION_GUESS:
		break;
	}
	return copy(data, size, out, room);
}

bool inflater_at_end(const Inflater *inflater)
{
	switch (inflater->compression) {
	case COMPRESSION_GZIP:
		return gzip_at_end(inflater->gzip);
	case COMPRESSION_ZSTD:
		return inflater->has_begun && !inflater->is_inside;
	case COMPRESSION_NONE:
	case COMPRESSION_GUESS:
		break;
	}
	return true;
}
