#include "storage/dm_thin_record.h"

#include <inttypes.h>
#include <string.h>

#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

#define TEXT_MAX	128
#define TEXT_FORMAT	"size %" PRIu64 "\nsealed %d\n"
#define PART_SUFFIX	".part"
#define ID_DIGITS	6
#define ID_TRIES	1000
#define VOLUME_NAME_MAX 64

void thin_record_release(ThinRecord *record)
{
	free(record->volume);
	*record = (ThinRecord){ 0 };
}

void thin_record_list_release(ThinRecordList *list)
{
	for (size_t i = 0; i < list->count; i++)
		thin_record_release(&list->items[i]);
	free(list->items);
	*list = (ThinRecordList){ 0 };
}

int thin_volume_check(const char *volume, Error **err)
{
	static const char allowed[] =
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-";
	size_t len = strlen(volume);

	if (len == 0 || len > VOLUME_NAME_MAX || strspn(volume, allowed) != len)
		return error_set(err, ERR_FAILED, "'%s' cannot be the name of a volume", volume);
	return 0;
}

char *thin_part_path(const char *dir, const char *volume)
{
	return xasprintf("%s/%s" PART_SUFFIX, dir, volume);
}

char *thin_part_volume(const char *name)
{
	auto_free char *volume = NULL;

	if (!str_ends_with(name, PART_SUFFIX))
		return NULL;
	volume = xstrndup(name, strlen(name) - strlen(PART_SUFFIX));
	return thin_volume_check(volume, NULL) < 0 ? NULL : steal(&volume);
}

static char *path_of(const char *dir, const ThinRecord *record)
{
	return xasprintf("%s/%s.%06" PRIx32, dir, record->volume, record->id);
}

/* "VOLUME.00a1b2": what does not look like that is no record. */
static bool parse_name(const char *name, ThinRecord *out_record)
{
	const char *dot = strrchr(name, '.');
	auto_free char *volume = dot ? xstrndup(name, (size_t)(dot - name)) : NULL;

	if (!volume || strlen(dot + 1) != ID_DIGITS ||
	    strspn(dot + 1, "0123456789abcdef") != ID_DIGITS || thin_volume_check(volume, NULL) < 0)
		return false;
	*out_record = (ThinRecord){ .volume = steal(&volume),
				    .id = (uint32_t)strtoul(dot + 1, NULL, 16) };
	return true;
}

int thin_record_list(const char *dir, ThinRecordList *out_list, Error **err)
{
	auto_strv Strv names = { 0 };
	ThinRecordList list = { 0 };

	if (fs_list(dir, &names, err) < 0)
		return -1;
	list.items = xcalloc(names.count + 1, sizeof(*list.items));
	for (size_t i = 0; i < names.count; i++)
		if (parse_name(names.items[i], &list.items[list.count]))
			list.count++;
	*out_list = list;
	return 0;
}

bool thin_record_list_has(const ThinRecordList *list, uint32_t id)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].id == id)
			return true;
	return false;
}

int thin_record_read(const char *dir, ThinRecord *record, Error **err)
{
	auto_free char *path = path_of(dir, record);
	auto_free char *text = NULL;
	uint64_t size_bytes;
	int is_sealed;

	if (fs_read(path, TEXT_MAX, &text, NULL, err) < 0)
		return -1;
	if (sscanf(text, TEXT_FORMAT, &size_bytes, &is_sealed) != 2)
		return error_set(err, ERR_FAILED, "'%s' is damaged", path);
	record->size_bytes = size_bytes;
	record->is_sealed = is_sealed;
	return 0;
}

int thin_record_locate(const char *dir, const char *volume, ThinRecord *out_record, Error **err)
{
	auto_thin_record_list ThinRecordList list = { 0 };

	if (thin_volume_check(volume, err) < 0 || thin_record_list(dir, &list, err) < 0)
		return -1;
	for (size_t i = 0; i < list.count; i++) {
		if (strcmp(list.items[i].volume, volume) != 0)
			continue;
		*out_record = list.items[i];
		list.items[i] = (ThinRecord){ 0 };
		return 1;
	}
	return 0;
}

int thin_record_find(const char *dir, const char *volume, ThinRecord *out_record, Error **err)
{
	auto_thin_record ThinRecord record = { 0 };
	int found = thin_record_locate(dir, volume, &record, err);

	if (found <= 0)
		return found;
	if (thin_record_read(dir, &record, err) < 0)
		return -1;
	*out_record = record;
	record = (ThinRecord){ 0 };
	return 1;
}

static int take_free_id(const char *dir, uint32_t *out_id, Error **err)
{
	auto_thin_record_list ThinRecordList list = { 0 };

	if (thin_record_list(dir, &list, err) < 0)
		return -1;
	for (int i = 0; i < ID_TRIES; i++) {
		uint32_t id = 0;

		os_random(&id, sizeof(id));
		id &= THIN_ID_MAX;
		if (thin_record_list_has(&list, id))
			continue;
		*out_id = id;
		return 0;
	}
	return error_set(err, ERR_FAILED, "the store has no number left for another disk");
}

int thin_record_make(const char *dir, ThinRecord *record, Error **err)
{
	auto_free char *path = NULL;
	char text[TEXT_MAX];
	int len;

	if (take_free_id(dir, &record->id, err) < 0)
		return -1;
	path = path_of(dir, record);
	len = snprintf(text, sizeof(text), TEXT_FORMAT, record->size_bytes, record->is_sealed);
	if (failpoint("storage.thin.record", err) < 0 ||
	    fs_write_new(path, text, (size_t)len, 0600, err) < 0)
		return -1;
	return fs_sync_path(dir, err);
}

int thin_record_renumber(const char *dir, ThinRecord *record, Error **err)
{
	auto_free char *former = path_of(dir, record);
	auto_free char *path = NULL;

	if (take_free_id(dir, &record->id, err) < 0)
		return -1;
	path = path_of(dir, record);
	return fs_rename_new(former, path, err) < 0 ? -1 : fs_sync_path(dir, err);
}

int thin_record_write(const char *dir, const ThinRecord *record, Error **err)
{
	auto_free char *path = path_of(dir, record);
	char text[TEXT_MAX];
	int len = snprintf(text, sizeof(text), TEXT_FORMAT, record->size_bytes, record->is_sealed);

	return fs_write_atomic(path, text, (size_t)len, 0600, /* durable= */ true, err);
}

int thin_record_remove(const char *dir, const ThinRecord *record, Error **err)
{
	auto_free char *path = path_of(dir, record);

	return fs_remove(path, err);
}
