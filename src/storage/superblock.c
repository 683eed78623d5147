#include "storage/superblock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "util/mem.h"
#include "util/str.h"

/* Filesystems, partition tables and volume managers have something within this much. */
#define HEAD_BYTES (1U << 20)

#define BTRFS_LABEL_AT (65536 + 0x12b)
#define XFS_LABEL_AT   108

static const struct {
	const char *kind;
	size_t at;
	const char *magic;
	size_t len;
	size_t label_at; /* 0: not read */
} known[] = {
	{ "btrfs", 65536 + 64, "_BHRfS_M", 8, BTRFS_LABEL_AT },
	{ "xfs", 0, "XFSB", 4, XFS_LABEL_AT },
	{ "ext4", 0x438, "\x53\xef", 2, 0 },
	{ "LUKS", 0, "LUKS\xba\xbe", 6, 0 },
	{ "LVM", 512, "LABELONE", 8, 0 },
	{ "swap", 4086, "SWAPSPACE2", 10, 0 },
	{ "squashfs", 0, "hsqs", 4, 0 },
	{ "f2fs", 1024, "\x10\x20\xf5\xf2", 4, 0 },
	{ "bcachefs", 4096 + 24, "\xc6\x85\x73\xf6", 4, 0 },
	{ "qcow2", 0, "QFI\xfb", 4, 0 },
	{ "a GPT partition table", 512, "EFI PART", 8, 0 },
	{ "a partition table", 510, "\x55\xaa", 2, 0 },
};

void superblock_parse(const uint8_t *head, size_t len, Superblock *out)
{
	*out = (Superblock){ 0 };
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (known[i].at + known[i].len > len ||
		    memcmp(head + known[i].at, known[i].magic, known[i].len) != 0)
			continue;
		out->kind = known[i].kind;
		if (known[i].label_at && known[i].label_at + SUPERBLOCK_LABEL_MAX <= len) {
			memcpy(out->label, head + known[i].label_at, SUPERBLOCK_LABEL_MAX);
			str_make_printable(out->label);
		}
		return;
	}
}

static bool is_zero(const uint8_t *data, size_t len)
{
	return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

static int read_head(int fd, uint8_t *data, size_t len, Error **err)
{
	for (size_t done = 0; done < len;) {
		ssize_t got = pread(fd, data + done, len - done, (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(err, errno, "read");
		if (got == 0)
			return error_set(err, ERR_FAILED, "it is shorter than expected");
		done += (size_t)got;
	}
	return 0;
}

int superblock_read(int fd, uint64_t size_bytes, Superblock *out, Error **err)
{
	auto_free uint8_t *data = xmalloc(HEAD_BYTES);
	size_t len = size_bytes < HEAD_BYTES ? (size_t)size_bytes : HEAD_BYTES;
	Superblock found;

	if (read_head(fd, data, len, err) < 0)
		return -1;
	superblock_parse(data, len, &found);
	if (!found.kind && !is_zero(data, len))
		found.kind = "unknown data";
	*out = found;
	return 0;
}
