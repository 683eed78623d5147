#include "ops/sniff.h"

#include <stdbool.h>
#include <string.h>

#include "util/compiler.h"

#define TAR_BLOCK	 512
#define TAR_CHECKSUM	 148
#define TAR_CHECKSUM_LEN 8

typedef struct Signature {
	size_t offset;
	const char *bytes;
	size_t len;
	Sniffed is;
} Signature;

#define BYTES(text) (text), sizeof(text) - 1

/* The more telling first: a disk may begin with anything. */
static const Signature signatures[] = {
	{ 0, BYTES("\x1f\x8b"), { SNIFF_PACKED, "a gzip file", "gzip" } },
	{ 0, BYTES("\x28\xb5\x2f\xfd"), { SNIFF_PACKED, "a zstd file", "zstd" } },
	{ 0,
	  BYTES("\xfd"
		"7zXZ\0"),
	  { SNIFF_PACKED, "an xz file", "xz" } },
	{ 0, BYTES("BZh"), { SNIFF_PACKED, "a bzip2 file", "bzip2" } },
	{ 0, BYTES("\x04\x22\x4d\x18"), { SNIFF_PACKED, "an lz4 file", "lz4" } },
	{ 0, BYTES("QFI\xfb"), { SNIFF_QCOW2, "a qcow2 disk", NULL } },
	{ 0, BYTES("KDMV"), { SNIFF_OTHER, "a VMware disk (vmdk)", NULL } },
	{ 0, BYTES("# Disk DescriptorFile"), { SNIFF_OTHER, "a VMware disk (vmdk)", NULL } },
	{ 0, BYTES("vhdxfile"), { SNIFF_OTHER, "a Hyper-V disk (vhdx)", NULL } },
	{ 0,
	  BYTES("con"
		"ectix"),
	  { SNIFF_OTHER, "a Virtual PC disk (vhd)", NULL } },
	{ 0x40, BYTES("\x7f\x10\xda\xbe"), { SNIFF_OTHER, "a VirtualBox disk (vdi)", NULL } },
	{ 0, BYTES("hsqs"), { SNIFF_OTHER, "a squashfs filesystem", NULL } },
	{ 0, BYTES("XFSB"), { SNIFF_OTHER, "an XFS filesystem", NULL } },
	{ 0, BYTES("LUKS\xba\xbe"), { SNIFF_OTHER, "a disk encrypted with LUKS", NULL } },
	{ 0x10040, BYTES("_BHRfS_M"), { SNIFF_OTHER, "a btrfs filesystem", NULL } },
	{ 0x400, BYTES("\xe2\xe1\xf5\xe0"), { SNIFF_OTHER, "an erofs filesystem", NULL } },
	{ 0xff6, BYTES("SWAPSPACE2"), { SNIFF_OTHER, "a swap area", NULL } },
	{ 0, BYTES("PK\x03\x04"), { SNIFF_OTHER, "a zip archive", NULL } },
	{ 0, BYTES("7z\xbc\xaf\x27\x1c"), { SNIFF_OTHER, "a 7z archive", NULL } },
	{ 0, BYTES("070701"), { SNIFF_OTHER, "a cpio archive", NULL } },
	{ 0, BYTES("!<arch>\n"), { SNIFF_OTHER, "a Debian package or library (ar)", NULL } },
	{ 0, BYTES("\xed\xab\xee\xdb"), { SNIFF_OTHER, "an rpm package", NULL } },
	{ 0,
	  BYTES("\x7f"
		"ELF"),
	  { SNIFF_OTHER, "a program (ELF)", NULL } },
	{ 0, BYTES("%PDF"), { SNIFF_OTHER, "a PDF document", NULL } },
	{ 0, BYTES("#!"), { SNIFF_OTHER, "a script", NULL } },
	{ 0x438, BYTES("\x53\xef"), { SNIFF_DISK, "a disk with an ext4 filesystem", NULL } },
	{ 0x200, BYTES("EFI PART"), { SNIFF_DISK, "a disk with partitions (GPT)", NULL } },
	/* A hybrid ISO has a partition table too. */
	{ 0x8001, BYTES("CD001"), { SNIFF_OTHER, "a CD or DVD (ISO 9660)", NULL } },
	{ 0x1fe, BYTES("\x55\xaa"), { SNIFF_DISK, "a disk with partitions (MBR)", NULL } },
};

static unsigned long octal(const unsigned char *text, size_t len)
{
	unsigned long value = 0;

	while (len && *text == ' ')
		text++, len--;
	for (; len && *text >= '0' && *text <= '7'; text++, len--)
		value = value * 8 + (unsigned long)(*text - '0');
	return value;
}

/* Every tar since 1979 has this checksum, but not all of them a magic number. An empty one is zeros. */
static bool is_tar(const unsigned char *data, size_t len)
{
	unsigned long sum = 0;

	if (len < TAR_BLOCK || !data[0])
		return false;
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= TAR_CHECKSUM && i < TAR_CHECKSUM + TAR_CHECKSUM_LEN ? ' ' : data[i];
	return sum == octal(data + TAR_CHECKSUM, TAR_CHECKSUM_LEN);
}

static bool is_text(const unsigned char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] < ' ' && data[i] != '\n' && data[i] != '\t' && data[i] != '\r')
			return false;
	return true;
}

Sniffed sniff(const void *data, size_t len)
{
	const unsigned char *bytes = data;

	if (len == 0)
		return (Sniffed){ SNIFF_OTHER, "an empty file", NULL };
	if (is_tar(bytes, len))
		return (Sniffed){ SNIFF_TAR, "a tar archive", NULL };
	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++) {
		const Signature *s = &signatures[i];

		if (s->offset + s->len <= len && !memcmp(bytes + s->offset, s->bytes, s->len))
			return s->is;
	}
	if (is_text(bytes, len))
		return (Sniffed){ SNIFF_OTHER, "text", NULL };
	return (Sniffed){ SNIFF_OTHER, "nothing that ember knows", NULL };
}
