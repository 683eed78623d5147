/*
 * ACLs in text: whatever is taken for one becomes an attribute of the right shape, and its names are looked up in an
 * equally hostile /etc/passwd. The text ends at the first NUL, the names follow.
 */
#include "fuzz.h"
#include "image/acl.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_acl_names AclNames names = { 0 };
	auto_acl Acl acl = { 0 };
	auto_error err = NULL;
	const char *text = (const char *)data;
	size_t length = size ? strnlen(text, size) : 0;

	if (length < size)
		acl_names_read(&names, text + length + 1, size - length - 1);
	if (acl_read(text, length, &names, &names, &acl, &err) < 0) {
		CHECK(err);
		return 0;
	}
	CHECK((acl.attribute != NULL) == (acl.unknown == NULL));
	CHECK(acl.permissions <= 0777 && (acl.without & ~acl.permissions) == 0);
	if (acl.attribute)
		CHECK(acl_is_valid(acl.attribute, acl.size));
	return 0;
}
