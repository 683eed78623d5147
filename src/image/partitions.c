#include "image/partitions.h"

#include <string.h>

#include "image/extfs_format.h"
#include "util/mem.h"

#define SECTOR		512u
#define MBR_TABLE	446u
#define MBR_ENTRY_SIZE	16u
#define MBR_ENTRIES	4u
#define MBR_MAGIC_AT	510u
#define MBR_MAGIC	0xaa55u
#define FIRST_LOGICAL	5u
#define GPT_MAX_ENTRIES 1024u
#define GPT_MAX_ENTRY	4096u

enum {
	MBR_TYPE = 4,
	MBR_START = 8,
	MBR_SECTORS = 12,
	TYPE_EXTENDED = 0x05,
	TYPE_EXTENDED_LBA = 0x0f,
	TYPE_EXTENDED_LINUX = 0x85,
	TYPE_PROTECTIVE = 0xee
};
enum { GPT_TABLE_AT = 72, GPT_ENTRIES = 80, GPT_ENTRY_SIZE = 84, GPT_FIRST = 32, GPT_LAST = 40 };

/* The Discoverable Partitions Specification's root partitions, in the byte order of the disk. */
#if defined(__aarch64__)
static const uint8_t root_type[16] = { 0x45, 0xb0, 0x21, 0xb9, 0xf0, 0x1d, 0xc3, 0x41,
				       0xaf, 0x44, 0x4c, 0x6f, 0x28, 0x0d, 0x3f, 0xae };
#else
static const uint8_t root_type[16] = { 0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d,
				       0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09 };
#endif

typedef struct Reader {
	Extfs disk; /* for its bytes only */
	uint64_t size;
	Partitions *out;
} Reader;

static uint64_t get64(const uint8_t *at)
{
	return get32(at) | (uint64_t)get32(at + 4) << 32;
}

/* Whatever is behind the end of the disk reads as zeros: tables may lie. */
static int read_at(const Reader *reader, uint64_t at, void *data, size_t size, Error **err)
{
	memset(data, 0, size);
	if (at >= reader->size)
		return 0;
	if (size > reader->size - at)
		size = reader->size - at;
	return extfs_read_bytes(&reader->disk, at, data, size, err);
}

/* Places outside the disk are passed over, as the kernel does. */
static void add(Reader *reader, unsigned number, uint64_t offset, uint64_t size, bool is_root)
{
	Partitions *list = reader->out;

	if (offset == 0 || size == 0 || offset >= reader->size || list->count == PARTITIONS_MAX)
		return;
	if (size > reader->size - offset)
		size = reader->size - offset;
	list->items[list->count++] = (Partition){ offset, size, number, is_root };
}

/* 1 when there is a GPT for sectors of that size, else 0. */
static int read_gpt(Reader *reader, uint64_t sector, Error **err)
{
	uint8_t header[92], entry[128];
	uint64_t table;
	uint32_t count, entry_size;

	if (read_at(reader, sector, header, sizeof(header), err) < 0)
		return -1;
	table = get64(header + GPT_TABLE_AT);
	count = get32(header + GPT_ENTRIES);
	entry_size = get32(header + GPT_ENTRY_SIZE);
	if (memcmp(header, "EFI PART", 8) != 0 || entry_size < sizeof(entry) ||
	    entry_size > GPT_MAX_ENTRY || count > GPT_MAX_ENTRIES || table > reader->size / sector)
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t first, last;

		if (read_at(reader, table * sector + (uint64_t)i * entry_size, entry, sizeof(entry),
			    err) < 0)
			return -1;
		first = get64(entry + GPT_FIRST);
		last = get64(entry + GPT_LAST);
		if (first <= last && last < reader->size / sector)
			add(reader, i + 1, first * sector, (last - first + 1) * sector,
			    !memcmp(entry, root_type, sizeof(root_type)));
	}
	return 1;
}

static bool is_extended(uint8_t type)
{
	return type == TYPE_EXTENDED || type == TYPE_EXTENDED_LBA || type == TYPE_EXTENDED_LINUX;
}

/* A chain of tables: in each, the first entry is a partition, counted from that table, the second the next table, counted from the
 * first. */
static int read_logical(Reader *reader, uint64_t base, Error **err)
{
	uint64_t at = base;

	for (unsigned number = FIRST_LOGICAL; number < PARTITIONS_MAX; number++) {
		uint8_t sector[SECTOR];
		const uint8_t *own = sector + MBR_TABLE;
		const uint8_t *next = own + MBR_ENTRY_SIZE;

		if (read_at(reader, at * SECTOR, sector, sizeof(sector), err) < 0)
			return -1;
		if (get16(sector + MBR_MAGIC_AT) != MBR_MAGIC)
			return 0;
		add(reader, number, (at + get32(own + MBR_START)) * SECTOR,
		    (uint64_t)get32(own + MBR_SECTORS) * SECTOR, false);
		if (!is_extended(next[MBR_TYPE]) || get32(next + MBR_START) == 0)
			return 0;
		at = base + get32(next + MBR_START);
	}
	return 0;
}

static int read_mbr(Reader *reader, const uint8_t *sector, Error **err)
{
	for (unsigned i = 0; i < MBR_ENTRIES; i++) {
		const uint8_t *entry = sector + MBR_TABLE + (size_t)i * MBR_ENTRY_SIZE;
		uint64_t start = get32(entry + MBR_START);

		if (entry[MBR_TYPE] == 0)
			continue;
		if (!is_extended(entry[MBR_TYPE]))
			add(reader, i + 1, start * SECTOR,
			    (uint64_t)get32(entry + MBR_SECTORS) * SECTOR, false);
		else if (read_logical(reader, start, err) < 0)
			return -1;
	}
	return 0;
}

int partitions_read(int fd, uint64_t disk_size, Partitions *out, Error **err)
{
	Reader reader = { .disk = { .fd = fd }, .size = disk_size, .out = out };
	uint8_t sector[SECTOR];
	int found;

	out->count = 0;
	if (read_at(&reader, 0, sector, sizeof(sector), err) < 0)
		return -1;
	if (get16(sector + MBR_MAGIC_AT) != MBR_MAGIC)
		return 0;
	found = read_gpt(&reader, SECTOR, err);
	if (found == 0)
		found = read_gpt(&reader, 4096, err);
	if (found != 0)
		return found < 0 ? -1 : 0;
	return read_mbr(&reader, sector, err);
}
