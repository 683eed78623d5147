#include "image/root_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/mem.h"

int root_disk_open(RootDisk *disk, const ExportOptions *options, Error **err)
{
	struct stat st;
	off_t end;

	disk->fd = open(options->disk, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (disk->fd < 0) {
		error_set_errno(err, errno, "open '%s'", options->disk);
		return error_hint(err, "see what is there: ls -l '%s'", options->disk);
	}
	if (fstat(disk->fd, &st) < 0)
		return error_set_errno(err, errno, "look at '%s'", options->disk);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		error_set(err, ERR_USAGE, "'%s' is neither a file nor a block device",
			  options->disk);
		return error_hint(err, "see what is there: ls -l '%s'", options->disk);
	}
	end = lseek(disk->fd, 0, SEEK_END);
	if (end < 0)
		return error_set_errno(err, errno, "measure '%s'", options->disk);
	disk->size = (uint64_t)end;
	disk->has_offset = options->has_offset;
	disk->place.offset = options->offset;
	return 0;
}

int root_disk_find(RootDisk *disk, Error **err)
{
	int result = disk->has_offset ? disk_probe_at(disk->fd, disk->size, disk->place.offset,
						      &disk->place, err)
				      : disk_probe(disk->fd, disk->size, &disk->place, err);

	disk->is_found = result == 0;
	return result;
}

int root_disk_mount(const RootDisk *disk, Extfs *out, Error **err)
{
	return extfs_open(out, disk->fd, disk->place.offset, disk->place.size, err);
}

int root_disk_hint(Error **err)
{
	return error_hint(err,
			  "copy what you need out of a running VM instead: ember cp NAME:PATH .");
}

void root_disk_release(RootDisk *disk)
{
	close_fd(&disk->fd);
}
