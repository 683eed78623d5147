#include <stdlib.h>
#include <zstd.h>

#include "image/compress.h"
#include "util/mem.h"

#define LEVEL 3 /* its own default: a fifth smaller than gzip, at twice the price of isa-l's */

static void *zstd_open(void)
{
	ZSTD_CCtx *zstd = ZSTD_createCCtx();

	if (!zstd || ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, LEVEL)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1)))
		abort(); /* out of memory, as in mem.h */
	return zstd;
}

static void zstd_close(void *arg)
{
	(void)ZSTD_freeCCtx(arg);
}

static int zstd_step(void *arg, CompressStep *step, Error **err)
{
	ZSTD_inBuffer in = { step->in, step->in_size, 0 };
	ZSTD_outBuffer out = { step->out, step->out_size, 0 };
	size_t left =
		ZSTD_compressStream2(arg, &out, &in, step->is_last ? ZSTD_e_end : ZSTD_e_continue);

	if (ZSTD_isError(left))
		return error_set(err, ERR_FAILED, "zstd cannot compress: %s",
				 ZSTD_getErrorName(left));
	step->in += in.pos;
	step->in_size -= in.pos;
	step->out += out.pos;
	step->out_size -= out.pos;
	return step->is_last && left == 0;
}

const CompressLibrary compress_zstd = {
	.name = "zstd",
	.compression = COMPRESSION_ZSTD,
	.open = zstd_open,
	.close = zstd_close,
	.step = zstd_step,
};
