/*
 * The strict look at a tar stream. The first byte is the size of the pieces in which it comes, which
 * must not matter to the verdict.
 */
#include "fuzz.h"
#include "image/tarcheck.h"
#include "mend.h"
#include "util/mem.h"

static int verdict(const uint8_t *data, size_t size, size_t piece)
{
	auto_tarcheck TarCheck check = { 0 };
	auto_error err = NULL;

	for (size_t at = 0; at < size; at += piece) {
		size_t count = size - at < piece ? size - at : piece;

		if (tarcheck_feed(&check, data + at, count, &err) < 0) {
			CHECK(err);
			return -1;
		}
	}
	if (tarcheck_end(&check, &err) < 0) {
		CHECK(err);
		return -1;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free uint8_t *tar = NULL;

	if (size == 0)
		return 0;
	CHECK(verdict(data + 1, size - 1, (size_t)data[0] + 1) ==
	      verdict(data + 1, size - 1, size));
	tar = xcalloc(size, 1);
	memcpy(tar, data + 1, size - 1);
	tar_mend(tar, size - 1);
	CHECK(verdict(tar, size - 1, (size_t)data[0] + 1) == verdict(tar, size - 1, size));
	return 0;
}
