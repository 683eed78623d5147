#include "backend/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

#define NAME_MAX_BYTES 64

int storage_check_name(const char *volume, Error **err)
{
	static const char allowed[] =
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-";
	size_t len = strlen(volume);

	if (len == 0 || len > NAME_MAX_BYTES || strspn(volume, allowed) != len)
		return error_set(err, ERR_FAILED, "'%s' cannot be the name of a volume", volume);
	return 0;
}

int storage_missing(const char *path, Error **err)
{
	error_set(err, ERR_NOT_FOUND, "the store '%s' is missing", path);
	return error_hint(err, "put it back, or begin anew: ember vm delete --force --all && "
			       "ember deinit --purge");
}

void storage_disk_release(StorageDisk *disk)
{
	free(disk->path);
	*disk = (StorageDisk){ 0 };
}

void storage_usage_release(StorageUsage *usage)
{
	for (size_t i = 0; i < usage->count; i++)
		free(usage->items[i].volume);
	free(usage->items);
	free(usage->groups);
	*usage = (StorageUsage){ 0 };
}

int storage_read(const StorageBackend *storage, StoragePool *pool, const char *volume,
		 uint64_t offset, void *data, size_t len, Error **err)
{
	auto_storage_disk StorageDisk disk = { 0 };
	auto_fd fd = -1;
	ssize_t got;

	if (storage->read)
		return storage->read(pool, volume, offset, data, len, err);
	if (storage->attach(pool, volume, &disk, err) < 0)
		return -1;
	fd = open(disk.path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return error_set_errno(err, errno, "open the disk '%s'", disk.path);
	got = pread(fd, data, len, (off_t)offset);
	if (got < 0)
		return error_set_errno(err, errno, "read the disk '%s'", disk.path);
	memset((char *)data + got, 0, len - (size_t)got);
	return 0;
}
