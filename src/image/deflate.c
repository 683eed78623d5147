#include "image/deflate.h"

#include <string.h>

#include "util/compiler.h"

/* meson.build decides: the fastest first. */
static const DeflateLibrary *const libraries[] = {
#ifdef EMBER_ISAL
	&deflate_isal,
#endif
	&deflate_zlib,
};

#ifdef EMBER_ISAL
const char deflate_names[] = "isa-l, zlib";
#else
const char deflate_names[] = "zlib";
#endif

const DeflateLibrary *deflate_library(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(libraries); i++)
		if (!name || !strcmp(name, libraries[i]->name))
			return libraries[i];
	return NULL;
}
