/*
 * What lies on a device that says it is a dm-thin store, and what the kernel and thin_ls say of its pool.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "storage/dm_thin.h"

static void read_label(const uint8_t *data, size_t size)
{
	uint8_t copy[THIN_LABEL_BYTES] = { 0 };
	uint8_t again[THIN_LABEL_BYTES];
	ThinLabel label;

	memcpy(copy, data, size < sizeof(copy) ? size : sizeof(copy));
	if (!thin_label_parse(copy, &label))
		return;
	CHECK(strnlen(label.owner, sizeof(label.owner)) < sizeof(label.owner));
	CHECK(label.count > 0 && label.count <= THIN_SEGMENTS_MAX);
	thin_label_format(&label, again);
	CHECK(thin_label_parse(again, &label));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	ThinMap map = { 0 };
	ThinStatus status;

	read_label(data, size);
	if (thin_status_parse(text, &status))
		CHECK(status.data_used_blocks <= status.data_blocks);
	if (thin_map_parse(text, &map))
		for (size_t i = 0; i < map.count; i++)
			CHECK(map.items[i].exclusive_blocks <= map.items[i].mapped_blocks);
	thin_map_release(&map);
	free(text);
	return 0;
}
