/*
 * gzip streams through zlib and through the fastest library there is: both must come to the same end. The first byte
 * is the size of the pieces in which the input comes.
 */
#include "fuzz.h"
#include "image/gzip.h"
#include "util/mem.h"
#include "util/str.h"

#define MAX_OUTPUT (1u << 20)

/* Is the stream whole and good? */
static bool unpack(const DeflateLibrary *library, const uint8_t *data, size_t size, size_t piece,
		   Strbuf *out)
{
	static unsigned char buffer[5000];
	auto_error err = NULL;
	Gzip *gzip = gzip_new(library);
	ssize_t got = 0;
	bool is_good;

	for (size_t at = 0; at < size && got >= 0 && out->len < MAX_OUTPUT; at += piece) {
		const unsigned char *part = data + at;
		size_t left = size - at < piece ? size - at : piece;

		do {
			got = gzip_run(gzip, &part, &left, buffer, sizeof(buffer), &err);
			CHECK((got < 0) == (err != NULL));
			if (got > 0)
				strbuf_add(out, (char *)buffer, (size_t)got);
		} while ((got > 0 || (got == 0 && left > 0)) && out->len < MAX_OUTPUT);
	}
	is_good = got >= 0 && out->len < MAX_OUTPUT && gzip_at_end(gzip);
	gzip_free(gzip);
	return is_good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_strbuf Strbuf one = { 0 };
	auto_strbuf Strbuf other = { 0 };
	bool zlib, best;

	if (size < 2)
		return 0;
	zlib = unpack(deflate_library("zlib"), data + 1, size - 1, size, &one);
	best = unpack(deflate_library(NULL), data + 1, size - 1, (size_t)data[0] + 1, &other);
	CHECK(zlib == best);
	if (zlib)
		CHECK(one.len == other.len && (!one.len || !memcmp(one.text, other.text, one.len)));
	return 0;
}
