/*
 * The first bytes of whatever the user names as a place for a store.
 */
#include "fuzz.h"
#include "storage/superblock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Superblock found;

	superblock_parse(data, size, &found);
	CHECK(found.kind || !*found.label);
	CHECK(strnlen(found.label, sizeof(found.label)) < sizeof(found.label));
	return 0;
}
