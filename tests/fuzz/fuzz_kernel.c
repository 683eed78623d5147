/*
 * What is taken out of kernels and their packages: where a bzImage has its payload, which modules a module needs, what an
 * image says about itself; and the fragments that ask for options. A package is signed; a cut or damaged file is not.
 */
#include "fuzz.h"
#include "kernel/bzimage.h"
#include "kernel/fragment.h"
#include "kernel/identify.h"
#include "kernel/modinfo.h"
#include "util/mem.h"

static void identify(const uint8_t *data, size_t size)
{
	for (int format = KERNEL_ELF; format <= KERNEL_ARM64; format++) {
		KernelFacts facts;

		kernel_identify(data, size, (KernelFormat)format, &facts);
		kernel_facts_release(&facts);
	}
}

/* What a fragment says, its text says again. */
static void read_fragment(const uint8_t *data, size_t size)
{
	auto_free char *text = xstrndup((const char *)data, size);
	auto_fragment Fragment fragment = { 0 };
	auto_fragment Fragment again = { 0 };
	auto_free char *once = NULL;
	auto_free char *twice = NULL;
	auto_strv Strv missing = { 0 };
	auto_error err = NULL;

	if (fragment_add(&fragment, text, "it", &err) < 0) {
		CHECK(err);
		return;
	}
	once = fragment_text(&fragment);
	CHECK(fragment_add(&again, once, "it", NULL) == 0);
	twice = fragment_text(&again);
	CHECK(str_equal(once, twice));
	fragment_missing(&fragment, once, &missing);
	CHECK(missing.count == 0);
}

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
	identify(data, size);
	read_fragment(data, size);
	if (modinfo_depends(data, size, &names, &err) < 0)
		CHECK(err);
	return 0;
}
