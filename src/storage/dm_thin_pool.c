#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "storage/dm.h"
#include "storage/dm_thin.h"
#include "storage/loop.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

#define CHECK_TIMEOUT_MS 600000
#define LOCK_TIMEOUT_MS	 120000
#define BLOCK_SECTORS	 (THIN_BLOCK_BYTES / DM_SECTOR_BYTES)
#define PARAMS_MAX	 128

char *thin_device_name(const char *instance, const char *what)
{
	return xasprintf("ember-%s-%s", instance, what);
}

/* The pool's devices carry the identity of what they are made of: a copy of the installation somewhere else has the same
 * names, but must never use them. Owned. */
static char *pool_uuid(const StorageSite *site, const char *what, Error **err)
{
	auto_free char *path = backing_path(site);
	struct stat st;

	if (stat(path, &st) < 0) {
		error_set_errno(err, errno, "look at the store '%s'", path);
		error_hint(err, "put it back, or begin anew: ember deinit --purge");
		return NULL;
	}
	if (S_ISBLK(st.st_mode))
		return xasprintf("EMBER-%s-%s-%u:%u", site->instance_id, what, major(st.st_rdev),
				 minor(st.st_rdev));
	return xasprintf("EMBER-%s-%s-%ju-%ju", site->instance_id, what, (uintmax_t)st.st_dev,
			 (uintmax_t)st.st_ino);
}

static int name_taken(const char *name, const StorageSite *site, Error **err)
{
	error_set(err, ERR_BUSY, "device '%s' belongs to another installation with the id '%s'",
		  name, site->instance_id);
	return error_hint(err,
			  "deinit that one, or choose another id: ember init --instance-id HEX4");
}

/* One of the pool's own devices: 1 it is there and ours, 0 not there, -1 it is somebody else's. */
static int look(const StorageSite *site, const char *what, DmInfo *out_info, Error **err)
{
	auto_free char *name = thin_device_name(site->instance_id, what);
	auto_free char *uuid = pool_uuid(site, what, err);

	if (!uuid || dm_info(name, out_info, err) < 0)
		return -1;
	if (!out_info->exists)
		return 0;
	return strcmp(out_info->uuid, uuid) == 0 ? 1 : name_taken(name, site, err);
}

int thin_pool_is_active(const StorageSite *site, Error **err)
{
	DmInfo info;
	int found = look(site, "pool", &info, err);

	return found <= 0 ? found : info.is_active;
}

/* The block device of the backing: itself, the loop device that has it already, or a new one. */
static int block_device(const Backing *backing, LoopDevice *out_device, Error **err)
{
	int found;

	if (backing->is_device) {
		*out_device = (LoopDevice){ .path = xstrdup(backing->path), .fd = -1 };
		return 0;
	}
	found = loop_find_shareable(backing->fd, backing->path, out_device, err);
	if (found != 0)
		return found < 0 ? -1 : 0;
	if (failpoint("storage.thin.loop", err) < 0)
		return -1;
	return loop_attach(backing->path, out_device, err);
}

typedef struct Table {
	DmTarget targets[THIN_SEGMENTS_MAX];
	char params[THIN_SEGMENTS_MAX][PARAMS_MAX];
	size_t count;
} Table;

/* Where the segments of one kind lie on the device, one behind the other. */
static void linear_table(const ThinLabel *label, ThinKind kind, const char *device,
			 Table *out_table)
{
	uint64_t start = 0;

	out_table->count = 0;
	for (size_t i = 0; i < label->count; i++) {
		const ThinSegment *segment = &label->segments[i];
		char *params = out_table->params[out_table->count];

		if (segment->kind != kind)
			continue;
		(void)snprintf(params, PARAMS_MAX, "%s %" PRIu64, device,
			       segment->start_bytes / DM_SECTOR_BYTES);
		out_table->targets[out_table->count++] =
			(DmTarget){ .start = start,
				    .length = segment->length_bytes / DM_SECTOR_BYTES,
				    .type = "linear",
				    .params = params };
		start += segment->length_bytes / DM_SECTOR_BYTES;
	}
}

/* A full pool gives errors at once: QEMU then pauses the guest until there is room, and nothing that was written is lost.
 * The kernel's other way, to let writers wait, ends in the same errors a minute later, and until then nobody can be killed.
 */
static int pool_table(const StorageSite *site, const ThinLabel *label, Table *out_table,
		      Error **err)
{
	auto_free char *metadata = thin_device_name(site->instance_id, "meta");
	auto_free char *data = thin_device_name(site->instance_id, "data");
	DmInfo metadata_info, data_info;

	if (dm_info(metadata, &metadata_info, err) < 0 || dm_info(data, &data_info, err) < 0)
		return -1;
	(void)snprintf(out_table->params[0], PARAMS_MAX, "%s %s %llu %llu 1 error_if_no_space",
		       metadata_info.number, data_info.number, BLOCK_SECTORS,
		       THIN_RESERVE_BYTES / THIN_BLOCK_BYTES);
	out_table->targets[0] =
		(DmTarget){ .start = 0,
			    .length = thin_label_bytes(label, THIN_DATA) / DM_SECTOR_BYTES,
			    .type = "thin-pool",
			    .params = out_table->params[0] };
	out_table->count = 1;
	return 0;
}

static int make_device(const StorageSite *site, const char *what, const Table *table, Error **err)
{
	auto_free char *name = thin_device_name(site->instance_id, what);
	auto_free char *uuid = pool_uuid(site, what, err);

	return uuid ? dm_make(name, uuid, table->targets, table->count, /* is_readonly= */ false,
			      err)
		    : -1;
}

int thin_tool(Command *cmd, const char *program, Error **err)
{
	auto_free char *found = program_find_admin(program);

	return command_init_tool(cmd, found ? found : program, err);
}

/* After a power cut the metadata is whole or it is not: a pool on damaged metadata would damage the disks as well. */
static int check_metadata(const StorageSite *site, Error **err)
{
	auto_command Command cmd = { 0 };
	auto_free char *name = thin_device_name(site->instance_id, "meta");
	auto_free char *path = dm_path(name);

	if (thin_tool(&cmd, "thin_check", err) < 0)
		return -1;
	command_add(&cmd, "-q");
	command_add(&cmd, "--clear-needs-check-flag");
	command_add(&cmd, path);
	if (command_run(&cmd, deadline_in_ms(CHECK_TIMEOUT_MS), err) == 0)
		return 0;
	error_wrap(err, "check the store's metadata");
	return error_hint(err,
			  "copy '%s' somewhere safe, then see: thin_check '%s'; man thin_repair",
			  name, path);
}

static int make_areas(const StorageSite *site, const Backing *backing, const ThinLabel *label,
		      Error **err)
{
	auto_loop_device LoopDevice device = LOOP_DEVICE_NONE;
	auto_free Table *table = xcalloc(1, sizeof(*table));

	if (block_device(backing, &device, err) < 0)
		return -1;
	linear_table(label, THIN_METADATA, device.path, table);
	if (failpoint("storage.thin.meta", err) < 0 || make_device(site, "meta", table, err) < 0)
		return -1;
	linear_table(label, THIN_DATA, device.path, table);
	if (failpoint("storage.thin.data", err) < 0)
		return -1;
	return make_device(site, "data", table, err);
}

static int make_pool(const StorageSite *site, const ThinLabel *label, const char *what, Error **err)
{
	auto_free Table *table = xcalloc(1, sizeof(*table));

	if (pool_table(site, label, table, err) < 0)
		return -1;
	return make_device(site, what, table, err);
}

static int clear_metadata(const Backing *backing, const ThinLabel *label, Error **err)
{
	static const char zeros[THIN_METADATA_BLOCK_BYTES];
	uint64_t at = THIN_RESERVED_BYTES;

	for (size_t i = label->count; i > 0; i--)
		if (label->segments[i - 1].kind == THIN_METADATA)
			at = label->segments[i - 1].start_bytes;
	if (pwrite(backing->fd, zeros, sizeof(zeros), (off_t)at) != (ssize_t)sizeof(zeros))
		return error_set_errno(err, errno, "write to '%s'", backing->path);
	return fs_sync_fd(backing->fd, backing->path, err);
}

/* The kernel makes a pool of zeros. That is done under a name of its own: while the label still says that everything may be
 * cleared, nobody can have made a volume. */
static int format_metadata(const StorageSite *site, const Backing *backing, ThinLabel *label,
			   Error **err)
{
	auto_free char *name = thin_device_name(site->instance_id, "new");

	if (dm_remove(name, err) < 0 || clear_metadata(backing, label, err) < 0 ||
	    failpoint("storage.thin.format", err) < 0 || make_pool(site, label, "new", err) < 0 ||
	    dm_remove(name, err) < 0)
		return -1;
	label->is_new = false;
	if (failpoint("storage.thin.formatted", err) < 0)
		return -1;
	return thin_label_write(backing->fd, label, err);
}

static const char *const own[] = { "pool", "new", "data", "meta" }; /* as they are removed */

static bool is_own(const StorageSite *site, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		auto_free char *ours = thin_device_name(site->instance_id, own[i]);

		if (!strcmp(name, ours))
			return true;
	}
	return false;
}

/* The devices of volumes that are attached. */
static int list_attached(const StorageSite *site, Strv *out_names, Error **err)
{
	auto_free char *prefix = thin_device_name(site->instance_id, "");
	auto_strv Strv names = { 0 };

	if (dm_list(prefix, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++)
		if (!is_own(site, names.items[i]))
			strv_push(out_names, names.items[i]);
	return 0;
}

int thin_pool_is_open(const StorageSite *site, Error **err)
{
	auto_strv Strv names = { 0 };

	if (list_attached(site, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++) {
		DmInfo info;

		if (dm_info(names.items[i], &info, err) < 0)
			return -1;
		if (info.open_count)
			return 1;
	}
	return 0;
}

static int check_own(const StorageSite *site, Error **err)
{
	DmInfo info;

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (look(site, own[i], &info, err) < 0)
			return -1;
	return 0;
}

int thin_pool_deactivate(const StorageSite *site, Error **err)
{
	auto_strv Strv names = { 0 };

	if (check_own(site, err) < 0 || list_attached(site, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++)
		if (dm_remove(names.items[i], err) < 0)
			return -1;
	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		auto_free char *name = thin_device_name(site->instance_id, own[i]);

		if (dm_remove(name, err) < 0)
			return -1;
	}
	return 0;
}

int thin_pool_activate(const StorageSite *site, const Backing *backing, Error **err)
{
	auto_free ThinLabel *label = xcalloc(1, sizeof(*label));
	int found = thin_label_read(backing->fd, label, err);

	if (found == 0)
		error_set(err, ERR_FAILED, "'%s' has lost its label", backing->path);
	/* What an interrupted attempt left dm_make() finishes; what is somebody else's stops it. */
	if (found <= 0 || check_own(site, err) < 0)
		return -1;
	if (make_areas(site, backing, label, err) == 0 &&
	    (!label->is_new || format_metadata(site, backing, label, err) == 0) &&
	    check_metadata(site, err) == 0 && failpoint("storage.thin.pool", err) == 0 &&
	    make_pool(site, label, "pool", err) == 0)
		return 0;
	(void)thin_pool_deactivate(site, NULL);
	return -1;
}

/* Give the two areas and the pool their new tables. Everything that writes to the pool waits meanwhile. */
static int swap_tables(const StorageSite *site, const ThinLabel *label, Error **err)
{
	auto_free char *metadata = thin_device_name(site->instance_id, "meta");
	auto_free char *data = thin_device_name(site->instance_id, "data");
	auto_free char *pool = thin_device_name(site->instance_id, "pool");
	const char *const names[] = { metadata, data, pool };
	auto_free Table *table = xcalloc(1, sizeof(*table));
	DmGuard guard;
	int result = -1;

	if (pool_table(site, label, table, err) < 0 ||
	    dm_guard_begin(names, ARRAY_SIZE(names), &guard, err) < 0)
		return -1;
	if (dm_suspend(pool, err) == 0 && failpoint("storage.thin.grow.swap", err) == 0 &&
	    dm_suspend(data, err) == 0 && dm_suspend(metadata, err) == 0 &&
	    dm_resume(metadata, err) == 0 && dm_resume(data, err) == 0 &&
	    dm_load(pool, table->targets, table->count, /* is_readonly= */ false, err) == 0)
		result = 0;
	return dm_guard_end(&guard, result ? NULL : err) < 0 ? -1 : result;
}

int thin_pool_extend(const StorageSite *site, const Backing *backing, const ThinLabel *label,
		     Error **err)
{
	auto_loop_device LoopDevice device = LOOP_DEVICE_NONE;
	auto_free char *metadata = thin_device_name(site->instance_id, "meta");
	auto_free char *data = thin_device_name(site->instance_id, "data");
	auto_free Table *table = xcalloc(1, sizeof(*table));

	if (block_device(backing, &device, err) < 0 ||
	    (!backing->is_device && loop_refresh_size(&device, err) < 0) ||
	    failpoint("storage.thin.grow.load", err) < 0)
		return -1;
	linear_table(label, THIN_METADATA, device.path, table);
	if (dm_load(metadata, table->targets, table->count, /* is_readonly= */ false, err) < 0)
		return -1;
	linear_table(label, THIN_DATA, device.path, table);
	if (dm_load(data, table->targets, table->count, /* is_readonly= */ false, err) < 0)
		return -1;
	return swap_tables(site, label, err);
}

bool thin_status_parse(const char *text, ThinStatus *out_status)
{
	ThinStatus status = { 0 };
	char root[32], mode[32];

	if (sscanf(text, "%*u %" SCNu64 "/%" SCNu64 " %" SCNu64 "/%" SCNu64 " %31s %31s",
		   &status.metadata_used_blocks, &status.metadata_blocks, &status.data_used_blocks,
		   &status.data_blocks, root, mode) != 6 ||
	    status.metadata_used_blocks > status.metadata_blocks ||
	    status.data_used_blocks > status.data_blocks)
		return false;
	status.has_snapshot = strcmp(root, "-") != 0;
	status.is_full = !strcmp(mode, "out_of_data_space");
	status.is_writable = status.is_full || !strcmp(mode, "rw");
	*out_status = status;
	return true;
}

int thin_pool_status(const StoragePool *pool, ThinStatus *out_status, Error **err)
{
	auto_free char *text = NULL;

	if (dm_status(pool->pool, &text, err) < 0)
		return -1;
	if (thin_status_parse(text, out_status))
		return 0;
	error_set(err, ERR_FAILED, "the store's pool does not work any more: it says '%s'",
		  str_make_printable(text));
	return error_hint(err, "stop all VMs, and the next command checks and mends it");
}

int thin_pool_check_room(const StoragePool *pool, uint64_t bytes, Error **err)
{
	ThinStatus status;
	uint64_t free_bytes;

	if (thin_pool_status(pool, &status, err) < 0)
		return -1;
	if (!status.is_writable) {
		error_set(err, ERR_STATE, "the store's pool has turned read-only after an error");
		return error_hint(err,
				  "stop all VMs, and the next command checks and mends it; see "
				  "why: dmesg | grep device-mapper");
	}
	free_bytes = (status.data_blocks - status.data_used_blocks) * THIN_BLOCK_BYTES;
	if (status.is_full || free_bytes < THIN_RESERVE_BYTES + bytes) {
		error_set(err, ERR_FAILED,
			  "not enough space left in the store's pool: %" PRIu64 " MiB of %" PRIu64,
			  free_bytes >> 20,
			  (uint64_t)(status.data_blocks * THIN_BLOCK_BYTES >> 20));
		return error_hint(
			err, "delete something, or make it larger: ember storage grow --size S");
	}
	if (pool->in_file) {
		if (fs_free_bytes(pool->backing, &free_bytes, err) < 0)
			return -1;
		if (free_bytes < THIN_RESERVE_BYTES + bytes) {
			error_set(err, ERR_FAILED,
				  "not enough space left around the store's file '%s'",
				  pool->backing);
			return error_hint(err, "free some space and try again: df -h '%s'",
					  pool->backing);
		}
	}
	return 0;
}

int thin_pool_lock(const StoragePool *pool, int *out_lock, Error **err)
{
	auto_free char *path = path_join(pool->dir, "lock");
	int got = fs_lock(path, LOCK_EXCLUSIVE, deadline_in_ms(LOCK_TIMEOUT_MS), out_lock, err);

	if (got == 0) {
		error_set(err, ERR_BUSY, "the store is in use by another command");
		return error_hint(err, "see by which: fuser -v '%s'", path);
	}
	return got > 0 ? 0 : -1;
}
