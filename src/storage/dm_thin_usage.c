#include <string.h>
#include <sys/stat.h>

#include "storage/dm.h"
#include "storage/dm_thin.h"
#include "util/fs.h"
#include "util/mem.h"

int thin_capacity(StoragePool *pool, StorageCapacity *out_capacity, Error **err)
{
	StorageCapacity capacity;
	ThinStatus status;
	uint64_t host_free;

	if (thin_pool_status(pool, &status, err) < 0)
		return -1;
	capacity.total_bytes = status.data_blocks * THIN_BLOCK_BYTES;
	capacity.free_bytes = (status.data_blocks - status.data_used_blocks) * THIN_BLOCK_BYTES;
	if (pool->in_file) {
		if (fs_free_bytes(pool->backing, &host_free, err) < 0)
			return -1;
		if (host_free < capacity.free_bytes)
			capacity.free_bytes = host_free;
	}
	*out_capacity = capacity;
	return 0;
}

static const ThinMapping *find_mapping(const ThinMap *map, uint32_t id)
{
	for (size_t i = 0; i < map->count; i++)
		if (map->items[i].id == id)
			return &map->items[i];
	return NULL;
}

/* The last block may reach beyond what the guest sees. */
static uint64_t bytes_of(uint64_t blocks, uint64_t most_bytes)
{
	uint64_t bytes = blocks * THIN_BLOCK_BYTES;

	return bytes < most_bytes ? bytes : most_bytes;
}

static int compare_volumes(const void *a, const void *b)
{
	return strcmp(((const VolumeUsage *)a)->volume, ((const VolumeUsage *)b)->volume);
}

/* A volume that is only recorded has no blocks yet. */
static int fill_usage(const StoragePool *pool, ThinRecordList *records, const ThinMap *map,
		      StorageUsage *usage, Error **err)
{
	usage->items = xcalloc(records->count + 1, sizeof(*usage->items));
	for (size_t i = 0; i < records->count; i++) {
		ThinRecord *record = &records->items[i];
		const ThinMapping *mapping = find_mapping(map, record->id);
		VolumeUsage *item = &usage->items[usage->count];

		if (thin_record_read(pool->dir, record, err) < 0)
			return -1;
		item->volume = xstrdup(record->volume);
		item->provisioned_bytes = record->size_bytes;
		if (mapping) {
			item->referenced_bytes =
				bytes_of(mapping->mapped_blocks, record->size_bytes);
			item->exclusive_bytes =
				bytes_of(mapping->exclusive_blocks, record->size_bytes);
		}
		item->logical_bytes = item->referenced_bytes;
		usage->addressable_bytes += item->provisioned_bytes;
		usage->count++;
	}
	qsort(usage->items, usage->count, sizeof(*usage->items), compare_volumes);
	return 0;
}

int thin_usage(StoragePool *pool, const Strv *groups UNUSED, size_t group_count UNUSED,
	       StorageUsage *out_usage, Error **err)
{
	auto_storage_usage StorageUsage usage = { 0 };
	auto_thin_record_list ThinRecordList records = { 0 };
	auto_thin_map ThinMap map = { 0 };
	auto_fd lock = -1;
	ThinStatus status;

	if (thin_pool_lock(pool, &lock, err) < 0 ||
	    thin_map_read(pool, /* with_blocks= */ true, &map, err) < 0 ||
	    thin_pool_status(pool, &status, err) < 0 ||
	    thin_record_list(pool->dir, &records, err) < 0 ||
	    fill_usage(pool, &records, &map, &usage, err) < 0)
		return -1;
	usage.capacity_bytes = status.data_blocks * THIN_BLOCK_BYTES;
	usage.allocated_bytes = status.data_used_blocks * THIN_BLOCK_BYTES;
	usage.logical_bytes = usage.allocated_bytes;
	usage.metadata_bytes = status.metadata_used_blocks * THIN_METADATA_BLOCK_BYTES;
	*out_usage = usage;
	usage = (StorageUsage){ 0 };
	return 0;
}
