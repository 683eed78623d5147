#include "image/disk_probe.h"

#include <string.h>
#include <sys/stat.h>

#include "image/extfs_format.h"
#include "image/partitions.h"
#include "util/mem.h"
#include "util/str.h"

/* What else may be found, by a few bytes at a certain place. Text that does not belong to a filesystem comes last. */
static const struct {
	const char *name;
	uint32_t at;
	const char *magic;
	size_t size;
} signatures[] = {
	{ "XFS", 0, "XFSB", 4 },
	{ "btrfs", 0x10040, "_BHRfS_M", 8 },
	{ "swap space", 4096 - 10, "SWAPSPACE2", 10 },
	{ "swap space", 65536 - 10, "SWAPSPACE2", 10 },
	{ "LUKS (encrypted)", 0, "LUKS\xba\xbe", 6 },
	{ "LVM", 512, "LABELONE", 8 },
	{ "LVM", 536, "LVM2 001", 8 },
	{ "a RAID member", 4096, "\xfc\x4e\x2b\xa9", 4 },
	{ "ZFS", 0x20000 + 0x1c, "ZFS", 3 },
	{ "F2FS", 1024, "\x10\x20\xf5\xf2", 4 },
	{ "squashfs", 0, "hsqs", 4 },
	{ "EROFS", 1024, "\xe2\xe1\xf5\xe0", 4 },
	{ "bcachefs", 4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca", 8 },
	{ "ISO 9660", 0x8001, "CD001", 5 },
	{ "NTFS", 3, "NTFS    ", 8 },
	{ "exFAT", 3, "EXFAT   ", 8 },
	{ "FAT", 54, "FAT", 3 },
	{ "FAT", 82, "FAT32", 5 },
	{ "a qcow2 image", 0, "QFI\xfb", 4 },
	{ "a VMDK image", 0, "KDMV", 4 },
	{ "a VHDX image", 0, "vhdxfile", 8 },
	{ "gzip data", 0, "\x1f\x8b", 2 },
	{ "zstd data", 0, "\x28\xb5\x2f\xfd", 4 },
	{ "xz data", 0,
	  "\xfd"
	  "7zXZ",
	  5 },
	{ "a tar", 257, "ustar", 5 },
};

#define EXT_MAGIC_AT (1024u + 0x38u)

static int has_bytes(int fd, const DiskPlace *place, uint64_t at, const void *magic, size_t size,
		     Error **err)
{
	const Extfs disk = { .fd = fd, .offset = place->offset };
	uint8_t bytes[16];

	if (at + size > place->size)
		return 0;
	if (extfs_read_bytes(&disk, at, bytes, size, err) < 0)
		return -1;
	return !memcmp(bytes, magic, size);
}

static int is_ext(int fd, const DiskPlace *place, Error **err)
{
	return has_bytes(fd, place, EXT_MAGIC_AT, "\x53\xef", 2, err);
}

static int name_of(int fd, const DiskPlace *place, const char **out_name, Error **err)
{
	*out_name = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++) {
		int found = has_bytes(fd, place, signatures[i].at, signatures[i].magic,
				      signatures[i].size, err);

		if (found < 0)
			return -1;
		if (found > 0) {
			*out_name = signatures[i].name;
			return 0;
		}
	}
	return 0;
}

/* A root has a directory "etc"; what only boots, or holds data, has none. A filesystem that cannot be read may be one. */
static bool looks_like_root(int fd, const DiskPlace *place)
{
	auto_extfs Extfs fs = { 0 };
	auto_free ExtInode *inode = xmalloc(sizeof(*inode));
	auto_error error = NULL;
	int found;

	if (extfs_open(&fs, fd, place->offset, place->size, &error) < 0)
		return true;
	found = extfs_walk(&fs, "etc", inode, &error);
	return found < 0 || (found > 0 && S_ISDIR(inode->mode));
}

static int refuse_whole(int fd, const DiskPlace *place, Error **err)
{
	const char *name;

	if (name_of(fd, place, &name, err) < 0)
		return -1;
	error_set(err, ERR_UNSUPPORTED, "the disk holds %s, not an ext4 filesystem",
		  name ? name : "nothing that is known");
	if (name && strstr(name, "image"))
		return error_hint(err, "make a raw disk of it: qemu-img convert -O raw FILE DISK");
	return error_hint(err,
			  "only disks with an ext4 root, with or without partitions, can be read");
}

static int refuse_partitions(int fd, const Partitions *list, Error **err)
{
	auto_strbuf Strbuf text = { 0 };

	for (size_t i = 0; i < list->count; i++) {
		DiskPlace place = { list->items[i].offset, list->items[i].size };
		const char *name;

		if (name_of(fd, &place, &name, err) < 0)
			return -1;
		strbuf_addf(&text, "%spartition %u is %s", i ? ", " : "", list->items[i].number,
			    name ? name : "nothing that is known");
	}
	error_set(err, ERR_UNSUPPORTED, "no partition holds ext4: %.400s", strbuf_str(&text));
	return error_hint(err,
			  "only disks with an ext4 root, with or without partitions, can be read");
}

static int refuse_choice(const Partitions *list, Error **err)
{
	auto_strbuf Strbuf text = { 0 };

	for (size_t i = 0; i < list->count; i++)
		strbuf_addf(&text, "%spartition %u at %llu", i ? ", " : "", list->items[i].number,
			    (unsigned long long)list->items[i].offset);
	error_set(err, ERR_USAGE, "several filesystems could be the root: %.400s",
		  strbuf_str(&text));
	return error_hint(err, "choose one: --offset %llu",
			  (unsigned long long)list->items[0].offset);
}

/* Keep those that fit; if none does, all of them. */
static void narrow(Partitions *list, bool (*fits)(int fd, const Partition *), int fd)
{
	size_t kept = 0;
	bool keep[PARTITIONS_MAX] = { false };

	for (size_t i = 0; i < list->count; i++) {
		keep[i] = fits(fd, &list->items[i]);
		kept += keep[i];
	}
	if (kept == 0)
		return;
	kept = 0;
	for (size_t i = 0; i < list->count; i++)
		if (keep[i])
			list->items[kept++] = list->items[i];
	list->count = kept;
}

static bool fits_root(int fd, const Partition *partition)
{
	DiskPlace place = { partition->offset, partition->size };

	return looks_like_root(fd, &place);
}

static bool fits_type(int fd, const Partition *partition)
{
	(void)fd;
	return partition->is_root;
}

static int choose(int fd, const Partitions *all, DiskPlace *out, Error **err)
{
	auto_free Partitions *list = xcalloc(1, sizeof(*list));

	for (size_t i = 0; i < all->count; i++) {
		DiskPlace place = { all->items[i].offset, all->items[i].size };
		int found = is_ext(fd, &place, err);

		if (found < 0)
			return -1;
		if (found > 0)
			list->items[list->count++] = all->items[i];
	}
	if (list->count == 0)
		return refuse_partitions(fd, all, err);
	if (list->count > 1)
		narrow(list, fits_root, fd);
	if (list->count > 1)
		narrow(list, fits_type, fd);
	if (list->count > 1)
		return refuse_choice(list, err);
	*out = (DiskPlace){ list->items[0].offset, list->items[0].size };
	return 0;
}

int disk_probe(int fd, uint64_t size, DiskPlace *out, Error **err)
{
	auto_free Partitions *list = xcalloc(1, sizeof(*list));
	DiskPlace whole = { 0, size };
	int found = is_ext(fd, &whole, err);

	if (found > 0)
		*out = whole;
	if (found != 0)
		return found < 0 ? -1 : 0;
	if (partitions_read(fd, size, list, err) < 0)
		return -1;
	if (list->count == 0)
		return refuse_whole(fd, &whole, err);
	return choose(fd, list, out, err);
}

int disk_probe_at(int fd, uint64_t size, uint64_t offset, DiskPlace *out, Error **err)
{
	DiskPlace place = { offset, offset < size ? size - offset : 0 };
	int found = is_ext(fd, &place, err);

	if (found == 0)
		return refuse_whole(fd, &place, err);
	if (found < 0)
		return -1;
	*out = place;
	return 0;
}
