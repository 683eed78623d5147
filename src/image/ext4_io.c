#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/ext4_format.h"
#include "util/mem.h"

/*
 * The file under libext2fs. It has no cache, so that what the bulk writers put beside it is seen at once, and it makes
 * zeros by punching holes: libext2fs' own way (ZERO_RANGE) would allocate, and keep btrfs from ever compressing.
 */

static int fd_of(io_channel channel)
{
	return *(const int *)channel->private_data;
}

/* `name` is the number of the fd, which stays the caller's. */
static errcode_t io_open(const char *name, int flags, io_channel *out)
{
	io_channel channel = xcalloc(1, sizeof(*channel));
	int *fd = xmalloc(sizeof(*fd));

	(void)flags;
	*fd = atoi(name);
	channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	channel->manager = &ext4_io_manager;
	channel->name = xstrdup(name);
	channel->block_size = 1024;
	channel->refcount = 1;
	channel->private_data = fd;
	*out = channel;
	return 0;
}

static errcode_t io_close(io_channel channel)
{
	if (--channel->refcount > 0)
		return 0;
	free(channel->private_data);
	free(channel->name);
	free(channel);
	return 0;
}

static errcode_t io_set_block_size(io_channel channel, int size)
{
	channel->block_size = size;
	return 0;
}

/* A negative count is a number of bytes. */
static size_t bytes_of(io_channel channel, int count)
{
	return count < 0 ? (size_t)-count : (size_t)count * (size_t)channel->block_size;
}

static errcode_t io_read(io_channel channel, unsigned long long block, int count, void *data)
{
	size_t size = bytes_of(channel, count);
	off_t at = (off_t)(block * (unsigned)channel->block_size);
	unsigned char *bytes = data;

	while (size > 0) {
		ssize_t done = pread(fd_of(channel), bytes, size, at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return errno;
		if (done == 0) {
			/* The file ends where nothing has been written yet. */
			memset(bytes, 0, size);
			return 0;
		}
		bytes += done;
		at += done;
		size -= (size_t)done;
	}
	return 0;
}

static errcode_t write_at(int fd, off_t at, const void *data, size_t size)
{
	const unsigned char *bytes = data;

	while (size > 0) {
		ssize_t done = pwrite(fd, bytes, size, at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return errno;
		bytes += done;
		at += done;
		size -= (size_t)done;
	}
	return 0;
}

static errcode_t io_write(io_channel channel, unsigned long long block, int count, const void *data)
{
	return write_at(fd_of(channel), (off_t)(block * (unsigned)channel->block_size), data,
			bytes_of(channel, count));
}

static errcode_t io_read32(io_channel channel, unsigned long block, int count, void *data)
{
	return io_read(channel, block, count, data);
}

static errcode_t io_write32(io_channel channel, unsigned long block, int count, const void *data)
{
	return io_write(channel, block, count, data);
}

static errcode_t io_write_bytes(io_channel channel, unsigned long at, int size, const void *data)
{
	return write_at(fd_of(channel), (off_t)at, data, (size_t)size);
}

static errcode_t io_flush(io_channel channel)
{
	(void)channel;
	return 0;
}

static errcode_t io_zero(io_channel channel, unsigned long long block, unsigned long long count)
{
	uint64_t ratio = BLOCK_SIZE / (unsigned)channel->block_size;

	return disk_zero(fd_of(channel), block / ratio, count / ratio, NULL) < 0 ? EIO : 0;
}

struct struct_io_manager ext4_io_manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "ember image file",
	.open = io_open,
	.close = io_close,
	.set_blksize = io_set_block_size,
	.read_blk = io_read32,
	.write_blk = io_write32,
	.read_blk64 = io_read,
	.write_blk64 = io_write,
	.write_byte = io_write_bytes,
	.flush = io_flush,
	.zeroout = io_zero,
};
