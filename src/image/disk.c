#include "image/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/mem.h"

#define BUFFER_SIZE (1u << 20)

void disk_init(Disk *disk, int fd)
{
	*disk = (Disk){ .fd = fd, .buffer = xmalloc(BUFFER_SIZE) };
}

void disk_release(Disk *disk)
{
	free(disk->buffer);
	blockmap_release(&disk->map);
	*disk = (Disk){ .fd = -1 };
}

static int write_fully(int fd, uint64_t at, const unsigned char *data, size_t size, Error **err)
{
	while (size > 0) {
		ssize_t done = pwrite(fd, data, size, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return error_set_errno(err, errno, "write the image");
		data += done;
		at += (uint64_t)done;
		size -= (size_t)done;
	}
	return 0;
}

int disk_flush(Disk *disk, Error **err)
{
	size_t used = disk->buffer_used;

	disk->buffer_used = 0;
	return write_fully(disk->fd, disk->buffer_at, disk->buffer, used, err);
}

/* Can the buffer go on at `at`? The rest of a file's last block reads as zeros, so that it may be filled with zeros. */
static bool buffer_continues(Disk *disk, uint64_t at)
{
	uint64_t end = disk->buffer_at + disk->buffer_used;
	uint64_t gap = at - end;

	if (!disk->buffer_used || at < end || gap >= BLOCK_SIZE ||
	    gap > BUFFER_SIZE - disk->buffer_used ||
	    gap > (BLOCK_SIZE - end % BLOCK_SIZE) % BLOCK_SIZE)
		return false;
	memset(disk->buffer + disk->buffer_used, 0, gap);
	disk->buffer_used += gap;
	return true;
}

int disk_write(Disk *disk, uint64_t at, const void *data, size_t size, Error **err)
{
	const unsigned char *bytes = data;

	while (size > 0) {
		size_t part;

		if (disk->buffer_used == BUFFER_SIZE || !buffer_continues(disk, at)) {
			if (disk_flush(disk, err) < 0)
				return -1;
			disk->buffer_at = at;
		}
		part = BUFFER_SIZE - disk->buffer_used;
		if (part > size)
			part = size;
		memcpy(disk->buffer + disk->buffer_used, bytes, part);
		disk->buffer_used += part;
		bytes += part;
		at += part;
		size -= part;
	}
	return 0;
}

/* Where byte `offset` of the file lies, and how many bytes follow it there; takes blocks for `size` bytes at most. */
static int locate(Disk *disk, Inode *inode, uint64_t offset, size_t size, uint64_t *out_at,
		  size_t *out_room, Error **err)
{
	uint64_t block = offset / BLOCK_SIZE;
	uint64_t within = offset % BLOCK_SIZE;
	const Extent *last = inode->extent_count ? &inode->extents[inode->extent_count - 1] : NULL;
	BlockRun run;

	if (!last || block >= (uint64_t)last->logical + last->count) {
		uint64_t want = (within + size + BLOCK_SIZE - 1) / BLOCK_SIZE;

		if (blockmap_take(&disk->map, want, &run, err) < 0)
			return -1;
		inode_add_extent(inode, (uint32_t)block, run.start, (uint32_t)run.count);
	} else {
		run.start = last->physical + (block - last->logical);
		run.count = last->count - (block - last->logical);
	}
	*out_at = run.start * BLOCK_SIZE + within;
	*out_room = run.count * BLOCK_SIZE - within;
	return 0;
}

int disk_append(Disk *disk, Inode *inode, uint64_t offset, const void *data, size_t size,
		Error **err)
{
	const unsigned char *bytes = data;

	while (size > 0) {
		uint64_t at = 0;
		size_t room = 0;

		if (locate(disk, inode, offset, size, &at, &room, err) < 0)
			return -1;
		if (room > size)
			room = size;
		if (disk_write(disk, at, bytes, room, err) < 0)
			return -1;
		bytes += room;
		offset += room;
		size -= room;
	}
	return 0;
}

static int read_fully(int fd, uint64_t at, char *data, size_t size, Error **err)
{
	while (size > 0) {
		ssize_t done = pread(fd, data, size, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return error_set_errno(err, errno, "read the image");
		if (done == 0)
			return 0; /* where nothing has been written yet are zeros */
		data += done;
		at += (uint64_t)done;
		size -= (size_t)done;
	}
	return 0;
}

int disk_read(Disk *disk, const Inode *inode, size_t max, char **out_text, size_t *out_length,
	      Error **err)
{
	size_t size = inode->size <= max ? (size_t)inode->size : 0;
	auto_free char *text = xcalloc(size + 1, 1);

	if (disk_flush(disk, err) < 0)
		return -1;
	for (uint32_t i = 0; size && i < inode->extent_count; i++) {
		const Extent *extent = &inode->extents[i];
		uint64_t offset = (uint64_t)extent->logical * BLOCK_SIZE;
		uint64_t part = (uint64_t)extent->count * BLOCK_SIZE;

		if (offset >= size)
			break;
		if (part > size - offset)
			part = size - offset;
		if (read_fully(disk->fd, extent->physical * BLOCK_SIZE, text + offset, part, err) <
		    0)
			return -1;
	}
	*out_text = steal(&text);
	*out_length = size;
	return 0;
}

int disk_zero(int fd, uint64_t start, uint64_t count, Error **err)
{
	static const unsigned char zeros[16 * BLOCK_SIZE];
	uint64_t at = start * BLOCK_SIZE;
	uint64_t size = count * BLOCK_SIZE;

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)size) == 0)
		return 0;
	/* A filesystem that cannot punch: plain zeros do. */
	while (size > 0) {
		size_t part = size < sizeof(zeros) ? size : sizeof(zeros);

		if (write_fully(fd, at, zeros, part, err) < 0)
			return -1;
		at += part;
		size -= part;
	}
	return 0;
}

int disk_discard(Disk *disk, const Inode *inode, Error **err)
{
	/* What is in the buffer must not come to lie there afterwards. */
	if (inode->extent_count && disk_flush(disk, err) < 0)
		return -1;
	for (uint32_t i = 0; i < inode->extent_count; i++) {
		const Extent *extent = &inode->extents[i];

		if (disk_zero(disk->fd, extent->physical, extent->count, err) < 0)
			return -1;
		blockmap_return(&disk->map, extent->physical, extent->count);
	}
	return 0;
}
