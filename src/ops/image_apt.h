/*
 * Where Debian packages come from on this host, for an image that is made of them.
 */
#pragma once

#include "util/error.h"
#include "util/str.h"

/* What this host's apt fetches that release from, its updates and security fixes included, as lines of a sources.list:
 * behind a company's mirror the public archive may be out of reach. None when this host is not Debian or of another
 * release, or when it takes what an image cannot (a disc, a directory, a password in the address). */
void image_apt_sources(const char *suite, Strv *out_lines);

/* The same from what apt-get says, a line each: URI|RELEASE|COMPONENT|ORIGIN. */
void image_apt_parse(const char *text, const char *suite, Strv *out_lines);
