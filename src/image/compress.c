#include "image/compress.h"

#include <string.h>

#include "util/compiler.h"

/* meson.build decides: the fastest first. */
static const CompressLibrary *const libraries[] = {
#ifdef EMBER_ISAL
	&compress_isal,
#endif
	&compress_zlib,
	&compress_zstd,
};

const CompressLibrary *compress_library(Compression compression, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(libraries); i++)
		if (libraries[i]->compression == compression &&
		    (!name || !strcmp(name, libraries[i]->name)))
			return libraries[i];
	return NULL;
}
