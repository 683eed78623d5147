/*
 * Words that users type: names, sizes, image references. What is accepted as a name must be safe in
 * a path, whatever it was made from.
 */
#include "fuzz.h"
#include "model/image.h"
#include "model/size.h"
#include "model/vm.h"
#include "util/mem.h"

static void check_reference(const char *text)
{
	auto_image_ref ImageRef ref = { 0 };
	auto_image_ref ImageRef again = { 0 };
	auto_error err = NULL;

	if (image_ref_parse(text, &ref, &err) < 0) {
		CHECK(err);
		return;
	}
	auto_free char *full = image_ref_text(&ref);
	auto_free char *local = image_ref_local_name(&ref);
	CHECK(name_check("image", local, &err) == 0);
	CHECK(image_ref_parse(full, &again, &err) == 0);
	auto_free char *full_again = image_ref_text(&again);
	CHECK(!strcmp(full, full_again));
}

static void check_size(const char *text)
{
	auto_error err = NULL;
	uint64_t bytes = 0;

	if (size_parse("--memory", text, &bytes, &err) < 0)
		CHECK(err);
	else
		CHECK(bytes >= KIB);
}

static void check_name(const char *text)
{
	auto_error err = NULL;
	auto_free char *made = image_name_from_text(text);

	if (name_check("vm", text, &err) == 0) {
		CHECK(strlen(text) <= VM_NAME_MAX);
		CHECK(!strchr(text, '/') && text[0] != '.' && text[0] != '-');
	} else {
		CHECK(err);
		error_clear(&err);
	}
	if (text[0])
		CHECK(name_check("image", made, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = malloc(size + 1);

	CHECK(text);
	memcpy(text, data, size);
	text[size] = '\0';
	check_reference(text);
	check_size(text);
	check_name(text);
	return 0;
}
