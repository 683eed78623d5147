#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "storage/dm.h"
#include "storage/dm_thin.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

#define MESSAGE_MAX 64
/* The name, a UUID like all others, of what the pool has without a file here: "thin", and the number. */
#define STRAY_PREFIX "7468696e-0000-4000-8000-"
#define STRAY_DIGITS 12
#define PARAMS_MAX   64
#define ID_TRIES     100
/* What the kernel can address of a thin volume, and more than any guest does. */
#define SIZE_MAX_BYTES (1ULL << 60)

/* ---- what the pool is told ---- */

static int tell(const StoragePool *pool, const char *text)
{
	return dm_message(pool->pool, text);
}

static int told_in_vain(int errnum, const char *what, uint32_t id, Error **err)
{
	error_set_errno(err, errnum, "%s thin volume %" PRIu32, what, id);
	if (errnum == ENOSPC)
		error_set_hint(err, "the store's metadata is full; make the store larger: "
				    "ember storage grow --size S");
	return -1;
}

static int delete_thin(const StoragePool *pool, uint32_t id, Error **err)
{
	char text[MESSAGE_MAX];
	int failed;

	(void)snprintf(text, sizeof(text), "delete %" PRIu32, id);
	failed = tell(pool, text);
	return failed && failed != ENODATA ? told_in_vain(failed, "remove", id, err) : 0;
}

/* A new one, or (`origin`) the copy of one. A number that the pool has already although no file names it is left over from
 * elsewhere: another is taken, and the sweep finds that one. */
static int make_thin(const StoragePool *pool, ThinRecord *record, const ThinRecord *origin,
		     Error **err)
{
	int failed = EEXIST;

	for (int i = 0; i < ID_TRIES; i++) {
		char text[MESSAGE_MAX];

		if (origin)
			(void)snprintf(text, sizeof(text), "create_snap %" PRIu32 " %" PRIu32,
				       record->id, origin->id);
		else
			(void)snprintf(text, sizeof(text), "create_thin %" PRIu32, record->id);
		failed = tell(pool, text);
		if (failed != EEXIST)
			break;
		if (thin_record_renumber(pool->dir, record, err) < 0)
			return -1;
	}
	return failed ? told_in_vain(failed, "make", record->id, err) : 0;
}

/* ---- devices ---- */

char *thin_path(const StorageSite *site, const char *volume)
{
	auto_free char *name = thin_device_name(site->instance_id, volume);

	return dm_path(name);
}

static uint64_t sectors_of(uint64_t bytes)
{
	/* Whole pages: what a guest's filesystem and the host's cache count in. */
	return (bytes + 4095) / 4096 * 4096 / DM_SECTOR_BYTES;
}

static int activate(const StoragePool *pool, const ThinRecord *record, bool is_readonly,
		    Error **err)
{
	auto_free char *name = thin_device_name(pool->instance, record->volume);
	auto_free char *uuid = xasprintf("EMBER-%s-%s", pool->instance, record->volume);
	char params[PARAMS_MAX];
	DmTarget target = { .length = sectors_of(record->size_bytes),
			    .type = "thin",
			    .params = params };

	(void)snprintf(params, sizeof(params), "%s %" PRIu32, pool->number, record->id);
	return dm_make(name, uuid, &target, 1, is_readonly, err);
}

/* Attach one that may be attached already: with the size and the seal it has now. */
static int activate_once(const StoragePool *pool, const ThinRecord *record, Error **err)
{
	auto_free char *name = thin_device_name(pool->instance, record->volume);
	auto_free char *path = dm_path(name);
	uint64_t sectors;
	DmInfo info;

	if (dm_info(name, &info, err) < 0)
		return -1;
	if (info.is_active && !info.is_suspended && info.is_readonly == record->is_sealed &&
	    access(path, F_OK) == 0) {
		if (dm_sectors(name, &sectors, err) < 0)
			return -1;
		if (sectors == sectors_of(record->size_bytes))
			return 0;
	}
	if (failpoint("storage.thin.attach", err) < 0)
		return -1;
	return activate(pool, record, record->is_sealed, err);
}

static int deactivate(const StoragePool *pool, const char *volume, Error **err)
{
	auto_free char *name = thin_device_name(pool->instance, volume);

	return dm_remove(name, err);
}

/* ---- volumes ---- */

static int missing(const char *volume, Error **err)
{
	error_set(err, ERR_NOT_FOUND, "the disk '%s' is missing in the store", volume);
	return error_hint(err, "see what else is wrong: ember doctor");
}

/* A whole volume: what is still being imported is none yet. */
static int find(const StoragePool *pool, const char *volume, ThinRecord *out_record, Error **err)
{
	auto_free char *part = NULL;
	auto_thin_record ThinRecord record = { 0 };
	int found = thin_record_find(pool->dir, volume, &record, err);

	if (found < 0)
		return -1;
	part = thin_part_path(pool->dir, volume);
	if (!found || fs_exists(part))
		return missing(volume, err);
	*out_record = record;
	record = (ThinRecord){ 0 };
	return 0;
}

static int check_absent(const StoragePool *pool, const char *volume, Error **err)
{
	auto_thin_record ThinRecord record = { 0 };
	int found = thin_record_locate(pool->dir, volume, &record, err);

	if (found > 0)
		return error_set(err, ERR_EXISTS, "the disk '%s' exists already", volume);
	return found;
}

static int check_size(uint64_t bytes, Error **err)
{
	if (bytes <= SIZE_MAX_BYTES)
		return 0;
	return error_set(err, ERR_USAGE, "a disk of %" PRIu64 " bytes is too large", bytes);
}

/* Give its blocks back to what the pool lies on: when it is deleted, the pool only notes that they are free. Blocks that
 * others share stay. That it cannot be done is no reason to keep the volume. */
static void discard_all(const StoragePool *pool, const ThinRecord *record)
{
	auto_free char *name = thin_device_name(pool->instance, record->volume);
	auto_free char *path = dm_path(name);
	uint64_t range[2] = { 0, sectors_of(record->size_bytes) * DM_SECTOR_BYTES };
	auto_fd fd = -1;

	if (activate(pool, record, /* is_readonly= */ false, NULL) < 0)
		return;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)ioctl(fd, BLKDISCARD, range);
}

static bool parse_stray(const char *volume, uint32_t *out_id)
{
	size_t len = strlen(STRAY_PREFIX);

	if (!str_starts_with(volume, STRAY_PREFIX) ||
	    strspn(volume + len, "0123456789abcdef") != STRAY_DIGITS || volume[len + STRAY_DIGITS])
		return false;
	*out_id = (uint32_t)strtoul(volume + len, NULL, 16) & THIN_ID_MAX;
	return true;
}

/* By now its number may have been given to a volume. */
static int destroy_stray(const StoragePool *pool, uint32_t id, Error **err)
{
	auto_thin_record_list ThinRecordList records = { 0 };
	auto_fd lock = -1;

	if (thin_pool_lock(pool, &lock, err) < 0 || thin_record_list(pool->dir, &records, err) < 0)
		return -1;
	return thin_record_list_has(&records, id) ? 0 : delete_thin(pool, id, err);
}

int thin_destroy(StoragePool *pool, const char *volume, Error **err)
{
	auto_thin_record ThinRecord record = { 0 };
	auto_free char *part = NULL;
	auto_fd lock = -1;
	int found;

	if (thin_volume_check(volume, err) < 0 || failpoint("storage.thin.destroy", err) < 0)
		return -1;
	if (parse_stray(volume, &record.id))
		return destroy_stray(pool, record.id, err);
	part = thin_part_path(pool->dir, volume);
	found = thin_record_locate(pool->dir, volume, &record, err);
	if (found <= 0)
		return found < 0 ? -1 : fs_remove(part, err);
	/* Not while somebody has it open. */
	if (deactivate(pool, volume, err) < 0)
		return -1;
	if (thin_record_read(pool->dir, &record, NULL) == 0)
		discard_all(pool, &record);
	if (thin_pool_lock(pool, &lock, err) < 0 || deactivate(pool, volume, err) < 0 ||
	    failpoint("storage.thin.delete", err) < 0 || delete_thin(pool, record.id, err) < 0 ||
	    failpoint("storage.thin.forget", err) < 0 ||
	    thin_record_remove(pool->dir, &record, err) < 0)
		return -1;
	return fs_remove(part, err);
}

/* As little as there is of it, without losing the first error. */
static void undo(StoragePool *pool, const char *volume)
{
	(void)thin_destroy(pool, volume, NULL);
}

int thin_import_path(StoragePool *pool, const char *volume, char **out_path, Error **err)
{
	auto_free char *part = NULL;

	if (thin_volume_check(volume, err) < 0 || thin_pool_check_room(pool, 0, err) < 0)
		return -1;
	part = thin_part_path(pool->dir, volume);
	/* What an interrupted import of the same name left. */
	if (fs_exists(part) && thin_destroy(pool, volume, err) < 0)
		return -1;
	if (check_absent(pool, volume, err) < 0)
		return -1;
	*out_path = steal(&part);
	return 0;
}

/* The volume for the file, empty yet. */
static int begin_import(StoragePool *pool, const char *volume, int part_fd, ThinRecord *record,
			Error **err)
{
	auto_fd lock = -1;
	struct stat st;

	if (fstat(part_fd, &st) < 0)
		return error_set_errno(err, errno, "look at the imported disk");
	*record = (ThinRecord){ .volume = xstrdup(volume), .size_bytes = (uint64_t)st.st_size };
	if (thin_pool_lock(pool, &lock, err) < 0 ||
	    thin_pool_check_room(pool, (uint64_t)st.st_blocks * 512, err) < 0 ||
	    check_absent(pool, volume, err) < 0 || thin_record_make(pool->dir, record, err) < 0 ||
	    failpoint("storage.thin.create", err) < 0)
		return -1;
	return make_thin(pool, record, /* origin= */ NULL, err);
}

static int fill_import(const StoragePool *pool, const ThinRecord *record, int part_fd, Error **err)
{
	auto_free char *name = thin_device_name(pool->instance, record->volume);
	auto_free char *path = dm_path(name);
	auto_fd fd = -1;

	if (activate(pool, record, /* is_readonly= */ false, err) < 0 ||
	    failpoint("storage.thin.copy", err) < 0)
		return -1;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "open '%s'", path);
	if (fs_copy_contents(part_fd, fd, NULL, NULL, err) < 0 ||
	    fs_sync_fd(fd, "the imported disk", err) < 0)
		return error_wrap(err, "copy the imported disk into the store");
	return 0;
}

/* The file stays until all else is durable: as long as it is there, the volume is none. */
int thin_import_commit(StoragePool *pool, const char *volume, Error **err)
{
	auto_thin_record ThinRecord record = { 0 };
	auto_free char *part = NULL;
	auto_fd fd = -1;

	if (thin_volume_check(volume, err) < 0)
		return -1;
	part = thin_part_path(pool->dir, volume);
	fd = open(part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return error_set_errno(err, errno, "open imported disk '%s'", part);
	if (begin_import(pool, volume, fd, &record, err) < 0 ||
	    fill_import(pool, &record, fd, err) < 0 || deactivate(pool, volume, err) < 0)
		return -1;
	record.is_sealed = true;
	if (failpoint("storage.thin.seal", err) < 0 ||
	    thin_record_write(pool->dir, &record, err) < 0 ||
	    failpoint("storage.thin.commit", err) < 0 || fs_remove(part, err) < 0)
		return -1;
	return fs_sync_path(pool->dir, err);
}

/* The kernel wants the origin of a copy to hold still, when it is on. */
static int copy_thin(const StoragePool *pool, const ThinRecord *origin, ThinRecord *record,
		     Error **err)
{
	auto_free char *name = thin_device_name(pool->instance, origin->volume);
	const char *const names[] = { name };
	DmGuard guard;
	DmInfo info;
	int result = -1;

	if (dm_info(name, &info, err) < 0)
		return -1;
	/* What is sealed does not change. */
	if (!info.is_active || info.is_readonly)
		return make_thin(pool, record, origin, err);
	if (dm_guard_begin(names, 1, &guard, err) < 0)
		return -1;
	if (dm_suspend(name, err) == 0 && failpoint("storage.thin.snap.held", err) == 0)
		result = make_thin(pool, record, origin, err);
	return dm_guard_end(&guard, result ? NULL : err) < 0 ? -1 : result;
}

/* A hypervisor that has the origin open needs not know: its writes wait for the instant of the copy. */
int thin_clone(StoragePool *pool, const char *from, const char *to, uint64_t size_bytes,
	       const StorageLive *live UNUSED, Error **err)
{
	auto_thin_record ThinRecord origin = { 0 };
	auto_thin_record ThinRecord record = { 0 };
	auto_fd lock = -1;

	if (thin_volume_check(to, err) < 0 || check_size(size_bytes, err) < 0 ||
	    thin_pool_lock(pool, &lock, err) < 0 || find(pool, from, &origin, err) < 0 ||
	    check_absent(pool, to, err) < 0 || thin_pool_check_room(pool, 0, err) < 0)
		return -1;
	record.volume = xstrdup(to);
	record.size_bytes = size_bytes > origin.size_bytes ? size_bytes : origin.size_bytes;
	if (thin_record_make(pool->dir, &record, err) == 0 &&
	    failpoint("storage.thin.snap", err) == 0 &&
	    copy_thin(pool, &origin, &record, err) == 0 &&
	    failpoint("storage.thin.snap.made", err) == 0)
		return 0;
	close_fd(&lock);
	undo(pool, to);
	return -1;
}

int thin_seal(StoragePool *pool, const char *volume, Error **err)
{
	auto_thin_record ThinRecord record = { 0 };
	auto_fd lock = -1;

	if (thin_pool_lock(pool, &lock, err) < 0 || find(pool, volume, &record, err) < 0)
		return -1;
	if (record.is_sealed)
		return 0;
	if (deactivate(pool, volume, err) < 0)
		return error_wrap(err, "seal it");
	record.is_sealed = true;
	if (failpoint("storage.thin.seal.volume", err) < 0)
		return -1;
	return thin_record_write(pool->dir, &record, err);
}

int thin_resize(StoragePool *pool, const char *volume, uint64_t size_bytes, bool is_live UNUSED,
		Error **err)
{
	auto_thin_record ThinRecord record = { 0 };
	auto_free char *name = NULL;
	auto_fd lock = -1;
	DmInfo info;

	if (check_size(size_bytes, err) < 0 || thin_pool_lock(pool, &lock, err) < 0 ||
	    find(pool, volume, &record, err) < 0)
		return -1;
	if (size_bytes < record.size_bytes)
		return error_set(err, ERR_USAGE, "a disk cannot shrink: it has %" PRIu64 " bytes",
				 record.size_bytes);
	record.size_bytes = size_bytes;
	if (failpoint("storage.thin.resize", err) < 0 ||
	    thin_record_write(pool->dir, &record, err) < 0)
		return -1;
	name = thin_device_name(pool->instance, volume);
	if (dm_info(name, &info, err) < 0)
		return -1;
	/* A new table takes the place of the old one when the device is resumed; it needs not be suspended before. */
	return info.is_active ? activate_once(pool, &record, err) : 0;
}

int thin_attach(StoragePool *pool, const char *volume, StorageDisk *out_disk, Error **err)
{
	auto_thin_record ThinRecord record = { 0 };
	auto_free char *name = NULL;
	auto_fd lock = -1;

	if (thin_pool_lock(pool, &lock, err) < 0 || find(pool, volume, &record, err) < 0 ||
	    activate_once(pool, &record, err) < 0)
		return -1;
	name = thin_device_name(pool->instance, volume);
	*out_disk = (StorageDisk){ .path = dm_path(name), .format = DISK_RAW, .is_device = true };
	return 0;
}

int thin_detach(StoragePool *pool, const char *volume, Error **err)
{
	auto_fd lock = -1;

	if (thin_volume_check(volume, err) < 0 || thin_pool_lock(pool, &lock, err) < 0)
		return -1;
	return deactivate(pool, volume, err);
}

int thin_size(StoragePool *pool, const char *volume, uint64_t *out_bytes, Error **err)
{
	auto_thin_record ThinRecord record = { 0 };

	if (find(pool, volume, &record, err) < 0)
		return -1;
	*out_bytes = record.size_bytes;
	return 0;
}

/* Volumes, imports under way, and what the pool has besides. */
int thin_list(StoragePool *pool, Strv *out_volumes, Error **err)
{
	auto_thin_record_list ThinRecordList records = { 0 };
	auto_thin_map ThinMap map = { 0 };
	auto_strv Strv files = { 0 };
	auto_fd lock = -1;

	if (thin_pool_lock(pool, &lock, err) < 0 ||
	    thin_map_read(pool, /* with_blocks= */ false, &map, err) < 0 ||
	    thin_record_list(pool->dir, &records, err) < 0 || fs_list(pool->dir, &files, err) < 0)
		return -1;
	for (size_t i = 0; i < records.count; i++)
		strv_push(out_volumes, records.items[i].volume);
	for (size_t i = 0; i < files.count; i++) {
		auto_free char *volume = thin_part_volume(files.items[i]);

		if (volume && !strv_has(out_volumes, volume))
			strv_push_take(out_volumes, steal(&volume));
	}
	for (size_t i = 0; i < map.count; i++)
		if (!thin_record_list_has(&records, map.items[i].id))
			strv_pushf(out_volumes, STRAY_PREFIX "%0*" PRIx32, STRAY_DIGITS,
				   map.items[i].id);
	return 0;
}
