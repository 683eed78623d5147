/*
 * Headers of overlays. QEMU writes them as well, and it runs untrusted guests.
 */
#include "fuzz.h"
#include "storage/qcow2_format.h"
#include "util/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[QCOW2_HEADER_BYTES];
	auto_error err = NULL;
	Qcow2Header header, copy;

	if (qcow2_parse(data, size, &header, &err) < 0) {
		CHECK(err != NULL);
		return 0;
	}
	CHECK(strnlen(header.backing, sizeof(header.backing)) < sizeof(header.backing));
	CHECK(!strchr(header.backing, '/') && header.backing[0] != '.');
	CHECK(header.size_bytes <= header.l1_entries * QCOW2_L2_BYTES);
	CHECK(header.l1_offset % QCOW2_CLUSTER == 0 && header.l1_offset > 0);
	qcow2_print(&header, again);
	CHECK(qcow2_parse(again, sizeof(again), &copy, &err) == 0);
	CHECK(copy.size_bytes == header.size_bytes && copy.l1_entries == header.l1_entries);
	CHECK(copy.l1_offset == header.l1_offset);
	CHECK(!strcmp(copy.backing, header.backing));
	return 0;
}
