/*
 * gzip streams (RFC 1952): members one after the other, then perhaps zeros. Header, CRC and length are checked here;
 * what is between them is deflate.h's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "image/deflate.h"
#include "util/error.h"

typedef struct Gzip Gzip;

Gzip *gzip_new(const DeflateLibrary *library);
void gzip_free(Gzip *gzip);

/* As inflater_run(). */
ssize_t gzip_run(Gzip *gzip, const unsigned char **data, size_t *size, void *out, size_t room,
		 Error **err);
/* May the input end here? */
bool gzip_at_end(const Gzip *gzip);
