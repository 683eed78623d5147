#include "kernel/bzimage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "kernel/decompress.h"
#include "kernel/magic.h"
#include "util/fs.h"
#include "util/mem.h"

#define SETUP_SECTS	   0x1f1 /* u8; 0 means 4 */
#define BOOT_FLAG	   0x1fe /* u16 0xaa55 */
#define HEADER_MAGIC	   0x202 /* "HdrS" */
#define VERSION		   0x206 /* u16 */
#define PAYLOAD_OFFSET	   0x248 /* u32, from the start of the protected-mode code */
#define PAYLOAD_LENGTH	   0x24c /* u32 */
#define HEADER_END	   0x250
#define VERSION_OF_PAYLOAD 0x208
#define SECTOR		   512
#define SIZE_TRAILER	   4

static const struct {
	const char *magic;
	size_t magic_len;
	const char *program;
	bool has_size_trailer;
} formats[] = {
	{ "\x02\x21\x4c\x18", 4, "lz4",
	  true }, /* LZ4's legacy frame, the one the kernel's build uses */
	{ "\xfd\x37zXZ\0", 6, "xz", true },
	{ "\x28\xb5\x2f\xfd", 4, "zstd", true },
	{ "BZh", 3, "bzip2", true },
	{ "\x1f\x8b", 2, "gzip", false },
};

static uint64_t get_u32(const uint8_t *at)
{
	return (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 |
	       (uint64_t)at[3] << 24;
}

int bzimage_parse(const uint8_t *data, size_t len, BzPayload *out_payload, Error **err)
{
	uint64_t setup_size, start, length;

	if (len < HEADER_END || memcmp(data + HEADER_MAGIC, "HdrS", 4) != 0 ||
	    data[BOOT_FLAG] != 0x55 || data[BOOT_FLAG + 1] != 0xaa)
		return error_set(err, ERR_FAILED, "not a bzImage");
	if ((data[VERSION] | data[VERSION + 1] << 8) < VERSION_OF_PAYLOAD)
		return error_set(err, ERR_UNSUPPORTED,
				 "the bzImage is too old: it does not say where its kernel is");
	setup_size = ((uint64_t)(data[SETUP_SECTS] ? data[SETUP_SECTS] : 4) + 1) * SECTOR;
	start = setup_size + get_u32(data + PAYLOAD_OFFSET);
	length = get_u32(data + PAYLOAD_LENGTH);
	if (start > len || length > len - start || length <= SIZE_TRAILER + 8)
		return error_set(err, ERR_FAILED, "the bzImage is cut short");
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (memcmp(data + start, formats[i].magic, formats[i].magic_len) != 0)
			continue;
		*out_payload = (BzPayload){
			.offset = start,
			.length = formats[i].has_size_trailer ? length - SIZE_TRAILER : length,
			.program = formats[i].program,
		};
		return 0;
	}
	return error_set(err, ERR_UNSUPPORTED, "the bzImage is compressed in an unknown way");
}

/* The stream alone, as a file of its own: programs read from the descriptor they are given, to its end. */
static int write_payload(const char *path, const uint8_t *data, const BzPayload *payload,
			 int *out_fd, Error **err)
{
	auto_fd fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_set_errno(err, errno, "make '%s'", path);
	(void)unlink(path);
	if (fs_write_all(fd, data + payload->offset, payload->length, err) < 0)
		return error_wrap(err, "'%s'", path);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return error_set_errno(err, errno, "rewind '%s'", path);
	*out_fd = steal_fd(&fd);
	return 0;
}

int bzimage_extract(const char *bzimage, const char *vmlinux, Error **err)
{
	auto_free char *data = NULL;
	auto_free char *stream = xasprintf("%s.payload", vmlinux);
	auto_fd fd = -1;
	size_t len;
	BzPayload payload;
	KernelFormat format;

	if (fs_read(bzimage, BZIMAGE_MAX, &data, &len, err) < 0)
		return -1;
	if (bzimage_parse((const uint8_t *)data, len, &payload, err) < 0)
		return error_wrap(err, "read '%s'", bzimage);
	if (write_payload(stream, (const uint8_t *)data, &payload, &fd, err) < 0 ||
	    decompress_fd(payload.program, fd, vmlinux, err) < 0 ||
	    kernel_format_of(vmlinux, &format, err) < 0)
		return error_wrap(err, "take the kernel out of '%s'", bzimage);
	if (format != KERNEL_ELF)
		return error_set(err, ERR_FAILED, "the kernel in '%s' is not an ELF file", bzimage);
	return 0;
}
