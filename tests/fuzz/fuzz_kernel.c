/*
 * What is taken out of a kernel package: where a bzImage has its payload, and which modules a module
 * needs. The package is signed; a cut or damaged file is not.
 */
#include "fuzz.h"
#include "kernel/bzimage.h"
#include "kernel/modinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_strv Strv names = { 0 };
	auto_error err = NULL;
	BzPayload payload;

	if (bzimage_parse(data, size, &payload, &err) < 0) {
		CHECK(err);
	} else {
		CHECK(payload.program);
		CHECK(payload.length <= size && payload.offset <= size - payload.length);
	}
	error_clear(&err);
	if (modinfo_depends(data, size, &names, &err) < 0)
		CHECK(err);
	return 0;
}
