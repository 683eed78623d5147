#include "storage/superblock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "util/mem.h"
#include "util/str.h"

/* Filesystems, partition tables and volume managers have something within this much. */
#define HEAD_BYTES (1U << 20)

#define BTRFS_LABEL_AT	 (65536 + 0x12b)
#define XFS_LABEL_AT	 108
#define DM_THIN_LABEL_AT 16 /* dm_thin_label.h */

/* The label's pairs stand behind how they are packed, their version and their flag. */
#define ZFS_LABEL_AT	(16U << 10)
#define ZFS_LABEL_BYTES (112U << 10)
#define ZFS_PAIRS_AT	12
#define ZFS_TYPE_STRING 9

static const struct {
	const char *kind;
	size_t at;
	const char *magic;
	size_t len;
	size_t label_at; /* 0: not read */
	size_t label_len;
} known[] = {
	{ "btrfs", 65536 + 64, "_BHRfS_M", 8, BTRFS_LABEL_AT, 64 },
	{ "xfs", 0, "XFSB", 4, XFS_LABEL_AT, 12 },
	{ "dm-thin", 0, "EMBERTHN", 8, DM_THIN_LABEL_AT, 12 },
	{ "ext4", 0x438, "\x53\xef", 2, 0, 0 },
	{ "LUKS", 0, "LUKS\xba\xbe", 6, 0, 0 },
	{ "LVM", 512, "LABELONE", 8, 0, 0 },
	{ "swap", 4086, "SWAPSPACE2", 10, 0, 0 },
	{ "squashfs", 0, "hsqs", 4, 0, 0 },
	{ "f2fs", 1024, "\x10\x20\xf5\xf2", 4, 0, 0 },
	{ "bcachefs", 4096 + 24, "\xc6\x85\x73\xf6", 4, 0, 0 },
	{ "qcow2", 0, "QFI\xfb", 4, 0, 0 },
	{ "a GPT partition table", 512, "EFI PART", 8, 0, 0 },
	{ "a partition table", 510, "\x55\xaa", 2, 0, 0 },
};

static uint32_t read_be32(const uint8_t *data)
{
	return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

/* XDR: a length, and bytes up to a multiple of four. How far it reaches from `at`, 0: beyond the end. */
static size_t text_size(const uint8_t *pairs, size_t len, size_t at)
{
	uint32_t text;

	if (at + 4 > len)
		return 0;
	text = read_be32(pairs + at);
	return text > len - at - 4 ? 0 : 4 + ((size_t)text + 3) / 4 * 4;
}

/* The pool's name among the pairs of a label: each has its size, the size unpacked, a name, a type, a count, a value. */
static void read_pool_name(const uint8_t *pairs, size_t len, char *out_name)
{
	for (size_t at = ZFS_PAIRS_AT; at + 8 <= len && read_be32(pairs + at) >= 20;
	     at += read_be32(pairs + at)) {
		size_t name = at + 8;
		size_t value = name + text_size(pairs, len, name) + 8;
		uint32_t size;

		if (value == name + 8 || value + 4 > len)
			return;
		if (read_be32(pairs + name) != 4 || memcmp(pairs + name + 4, "name", 4) != 0)
			continue;
		size = read_be32(pairs + value);
		if (read_be32(pairs + value - 8) != ZFS_TYPE_STRING ||
		    size > SUPERBLOCK_LABEL_MAX || !text_size(pairs, len, value))
			return;
		memcpy(out_name, pairs + value + 4, size);
		str_make_printable(out_name);
		return;
	}
}

/* Pairs in XDR, written by either kind of machine, of version 0, with names that are unique. */
static bool is_zfs(const uint8_t *head, size_t len)
{
	const uint8_t *label = head + ZFS_LABEL_AT;

	return len >= ZFS_LABEL_AT + ZFS_PAIRS_AT && label[0] == 1 && label[1] <= 1 &&
	       label[2] == 0 && label[3] == 0 && read_be32(label + 4) == 0 &&
	       read_be32(label + 8) == 1;
}

void superblock_parse(const uint8_t *head, size_t len, Superblock *out)
{
	*out = (Superblock){ 0 };
	if (is_zfs(head, len)) {
		out->kind = "zfs";
		read_pool_name(head + ZFS_LABEL_AT,
			       len - ZFS_LABEL_AT < ZFS_LABEL_BYTES ? len - ZFS_LABEL_AT
								    : ZFS_LABEL_BYTES,
			       out->label);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (known[i].at + known[i].len > len ||
		    memcmp(head + known[i].at, known[i].magic, known[i].len) != 0)
			continue;
		out->kind = known[i].kind;
		if (known[i].label_at && known[i].label_at + known[i].label_len <= len) {
			memcpy(out->label, head + known[i].label_at, known[i].label_len);
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
