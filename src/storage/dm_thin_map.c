#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "storage/dm.h"
#include "storage/dm_thin.h"
#include "util/failpoint.h"
#include "util/mem.h"
#include "util/process.h"

#define LIST_TIMEOUT_MS 600000
#define LIST_MAX	(64U << 20)

void thin_map_release(ThinMap *map)
{
	free(map->items);
	*map = (ThinMap){ 0 };
}

static bool parse_line(const char *line, ThinMapping *out_mapping)
{
	ThinMapping mapping = { 0 };
	int got = sscanf(line, "%" SCNu32 " %" SCNu64 " %" SCNu64, &mapping.id,
			 &mapping.mapped_blocks, &mapping.exclusive_blocks);

	if ((got != 1 && got != 3) || mapping.id > THIN_ID_MAX ||
	    mapping.exclusive_blocks > mapping.mapped_blocks)
		return false;
	*out_mapping = mapping;
	return true;
}

bool thin_map_parse(const char *text, ThinMap *out_map)
{
	auto_thin_map ThinMap map = { 0 };
	size_t lines = 1;

	for (const char *at = text; *at; at++)
		lines += *at == '\n';
	map.items = xcalloc(lines, sizeof(*map.items));
	while (*text) {
		size_t len = strcspn(text, "\n");
		auto_free char *line = xstrndup(text, len);

		text += len + (text[len] == '\n');
		if (line[strspn(line, " \t")] == '\0')
			continue;
		if (!parse_line(line, &map.items[map.count]))
			return false;
		map.count++;
	}
	*out_map = map;
	map = (ThinMap){ 0 };
	return true;
}

static int run_thin_ls(const StoragePool *pool, bool with_blocks, ThinMap *out_map, Error **err)
{
	auto_command Command cmd = { 0 };
	auto_free char *name = thin_device_name(pool->instance, "meta");
	auto_free char *path = dm_path(name);

	if (thin_tool(&cmd, "thin_ls", err) < 0)
		return -1;
	command_add(&cmd, "--metadata-snap");
	command_add(&cmd, "--no-headers");
	command_add(&cmd, "--format");
	/* To know who shares a block it reads all mappings; only the numbers are there at once. */
	command_add(&cmd, with_blocks ? "DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS" : "DEV");
	command_add(&cmd, path);
	cmd.capture = true;
	cmd.output_max = LIST_MAX;
	if (command_run(&cmd, deadline_in_ms(LIST_TIMEOUT_MS), err) < 0)
		return -1;
	if (!thin_map_parse(strbuf_str(&cmd.output), out_map))
		return error_set(err, ERR_FAILED,
				 "thin_ls said something that is not a list of disks");
	return 0;
}

static int snapshot_failed(int errnum, const char *what, Error **err)
{
	return error_set_errno(err, errnum, "%s the snapshot of the store's metadata", what);
}

int thin_map_read(const StoragePool *pool, bool with_blocks, ThinMap *out_map, Error **err)
{
	auto_thin_map ThinMap map = { 0 };
	int failed, result;

	/* The pool has one at most, and we hold the lock: what is there was left by a command that was killed. */
	failed = dm_message(pool->pool, "reserve_metadata_snap");
	if (failed == EBUSY && dm_message(pool->pool, "release_metadata_snap") == 0)
		failed = dm_message(pool->pool, "reserve_metadata_snap");
	if (failed)
		return snapshot_failed(failed, "take", err);
	result = failpoint("storage.thin.list", err);
	if (result == 0)
		result = run_thin_ls(pool, with_blocks, &map, err);
	failed = dm_message(pool->pool, "release_metadata_snap");
	if (result < 0)
		return -1;
	if (failed)
		return snapshot_failed(failed, "release", err);
	*out_map = map;
	map = (ThinMap){ 0 };
	return 0;
}
