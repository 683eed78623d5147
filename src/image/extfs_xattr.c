#include <stdlib.h>

#include "image/extfs_format.h"
#include "util/mem.h"
#include "util/str.h"

/*
 * Extended attributes: in the inode, in a block of their own that files may share, and large values in inodes.
 */

#define XATTR_MAGIC	  0xea020000u
#define BLOCK_HEADER_SIZE 32u
#define ENTRY_SIZE	  16u /* and the name, padded to 4 bytes */
#define MAX_VALUE	  65536u
#define MAX_TOTAL	  (1u << 20) /* of one file: what the header of a tar's member can hold */

enum {
	BLOCK_REFERENCES = 4,
	BLOCK_COUNT = 8,
	BLOCK_CHECKSUM = 16,
	ENTRY_NAME_LENGTH = 0,
	ENTRY_PREFIX = 1,
	ENTRY_VALUE_AT = 2,
	ENTRY_VALUE_INODE = 4,
	ENTRY_VALUE_SIZE = 8,
	PREFIX_ACCESS_ACL = 2,
	PREFIX_DEFAULT_ACL = 3,
	PREFIX_SYSTEM = 7,
};

static const char *const prefixes[] = {
	[1] = "user.",
	[PREFIX_ACCESS_ACL] = "system.posix_acl_access",
	[PREFIX_DEFAULT_ACL] = "system.posix_acl_default",
	[4] = "trusted.",
	[6] = "security.",
	[PREFIX_SYSTEM] = "system.",
};

/* Entries, and the area that their values lie in. */
typedef struct Area {
	const uint8_t *entries;
	size_t entries_size;
	const uint8_t *values;
	size_t values_size;
} Area;

typedef struct Entry {
	const char *name; /* behind the prefix; not terminated */
	size_t name_length;
	unsigned prefix;
	uint32_t value_inode;
	size_t value_size;
	const uint8_t *value; /* NULL when it has an inode */
} Entry;

/* The entry at `*at`, which moves behind it: 1 read, 0 no more, -1 error. */
static int next_entry(const Area *area, size_t *at, Entry *out, Error **err)
{
	const uint8_t *entry = area->entries + *at;
	size_t left = area->entries_size - *at;
	size_t value_at, size;

	if (left < 4 || get32(entry) == 0)
		return 0;
	size = (ENTRY_SIZE + (size_t)entry[ENTRY_NAME_LENGTH] + 3) & ~(size_t)3;
	if (left < size)
		return extfs_damaged(err, "an extended attribute does not fit");
	*out = (Entry){
		.name = (const char *)entry + ENTRY_SIZE,
		.name_length = entry[ENTRY_NAME_LENGTH],
		.prefix = entry[ENTRY_PREFIX],
		.value_inode = get32(entry + ENTRY_VALUE_INODE),
		.value_size = get32(entry + ENTRY_VALUE_SIZE),
	};
	value_at = get16(entry + ENTRY_VALUE_AT);
	if (!out->value_inode) {
		if (out->value_size > area->values_size ||
		    value_at > area->values_size - out->value_size)
			return extfs_damaged(err, "the value of an extended attribute is nowhere");
		out->value = area->values + value_at;
	}
	*at += size;
	return 1;
}

/* What of the inode is behind its own fields; false when there are no attributes. */
static bool inode_area(const Extfs *fs, const ExtInode *inode, Area *out)
{
	size_t start;

	if (fs->inode_size == INODE_CORE_SIZE)
		return false;
	start = INODE_CORE_SIZE + (size_t)get16(inode->raw + INODE_EXTRA_SIZE);
	if (start + 4 > fs->inode_size || get32(inode->raw + start) != XATTR_MAGIC)
		return false;
	out->entries = inode->raw + start + 4;
	out->entries_size = fs->inode_size - start - 4;
	out->values = out->entries;
	out->values_size = out->entries_size;
	return true;
}

static bool is_inline_rest(const Entry *entry)
{
	return entry->prefix == PREFIX_SYSTEM && entry->name_length == 4 &&
	       !memcmp(entry->name, "data", 4);
}

int extfs_inline_rest(const Extfs *fs, const ExtInode *inode, const uint8_t **out_data,
		      size_t *out_size, Error **err)
{
	Area area = { 0 };
	Entry entry = { 0 };
	size_t at = 0;
	int found;

	*out_data = NULL;
	*out_size = 0;
	if (!inode_area(fs, inode, &area))
		return 0;
	while ((found = next_entry(&area, &at, &entry, err)) > 0) {
		if (is_inline_rest(&entry) && entry.value) {
			*out_data = entry.value;
			*out_size = entry.value_size;
			return 0;
		}
	}
	return found;
}

/*
 * ACLs. ext4 leaves out the id where the tag needs none; the kernel's interface (linux/posix_acl_xattr.h) has it always.
 */
#define EXT4_ACL_VERSION   1u
#define KERNEL_ACL_VERSION 2u

enum { ACL_USER = 2, ACL_GROUP = 8 };

static void put16(uint8_t *at, uint16_t value)
{
	value = htole16(value);
	memcpy(at, &value, sizeof(value));
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static int convert_acl(ExtXattr *xattr, Error **err)
{
	auto_free uint8_t *acl = xmalloc(4 + xattr->size * 2);
	size_t size = 4;
	size_t at = 4;

	if (xattr->size < 4 || get32(xattr->value) != EXT4_ACL_VERSION)
		return extfs_damaged(err, "a file's ACL is none");
	put32(acl, KERNEL_ACL_VERSION);
	while (at < xattr->size) {
		bool has_id;

		if (xattr->size - at < 4)
			return extfs_damaged(err, "a file's ACL is cut off");
		has_id = get16(xattr->value + at) == ACL_USER ||
			 get16(xattr->value + at) == ACL_GROUP;
		if (has_id && xattr->size - at < 8)
			return extfs_damaged(err, "a file's ACL is cut off");
		put16(acl + size, get16(xattr->value + at));
		put16(acl + size + 2, get16(xattr->value + at + 2));
		put32(acl + size + 4, has_id ? get32(xattr->value + at + 4) : UINT32_MAX);
		size += 8;
		at += has_id ? 8 : 4;
	}
	free(xattr->value);
	xattr->value = steal(&acl);
	xattr->size = size;
	return 0;
}

/* Files share such inodes: their data is paid for in bytes, not in blocks; what it takes to find it, in blocks each time. */
static int read_value_inode(Extfs *fs, const Entry *entry, uint8_t **out_value, Error **err)
{
	auto_free ExtInode *inode = xmalloc(sizeof(*inode));
	uint64_t blocks_left = fs->blocks_left;
	uint64_t data, used;
	char *value = NULL;

	if (extfs_read_inode(fs, entry->value_inode, inode, err) < 0)
		return -1;
	if (!(inode->flags & EXT4_EA_INODE_FL) || inode->size != entry->value_size)
		return extfs_damaged(err, "the value of an extended attribute is another file");
	if (extfs_read_file(fs, inode, MAX_VALUE, &value, err) < 0)
		return -1;
	data = (inode->size + fs->block_size - 1) / fs->block_size;
	used = blocks_left - fs->blocks_left;
	fs->blocks_left = blocks_left - (used > data ? used - data : 0);
	*out_value = (uint8_t *)value;
	return 0;
}

static int take_entry(Extfs *fs, const Entry *entry, ExtXattrs *xattrs, Error **err)
{
	ExtXattr *xattr;
	bool is_acl = entry->prefix == PREFIX_ACCESS_ACL || entry->prefix == PREFIX_DEFAULT_ACL;

	if (is_inline_rest(entry))
		return 0;
	if (entry->prefix >= ARRAY_SIZE(prefixes) || !prefixes[entry->prefix] ||
	    is_acl != (entry->name_length == 0) || memchr(entry->name, '\0', entry->name_length))
		return extfs_damaged(err, "an extended attribute has an impossible name");
	if (entry->value_size > MAX_VALUE)
		return extfs_damaged(err, "an extended attribute is larger than 64 KiB");
	xattrs->items = xreallocarray(xattrs->items, xattrs->count + 1, sizeof(*xattrs->items));
	xattr = &xattrs->items[xattrs->count++];
	*xattr = (ExtXattr){
		.name = xasprintf("%s%.*s", prefixes[entry->prefix], (int)entry->name_length,
				  entry->name),
		.size = entry->value_size,
	};
	if (entry->value_inode)
		return read_value_inode(fs, entry, &xattr->value, err);
	xattr->value = xmalloc(entry->value_size + 1);
	if (entry->value)
		memcpy(xattr->value, entry->value, entry->value_size);
	return is_acl ? convert_acl(xattr, err) : 0;
}

static int take_area(Extfs *fs, const Area *area, ExtXattrs *xattrs, Error **err)
{
	uint64_t total = 0;
	size_t at = 0;
	Entry entry = { 0 };
	int found;

	while ((found = next_entry(area, &at, &entry, err)) > 0) {
		uint64_t size = ENTRY_SIZE + entry.name_length + entry.value_size;

		total += size;
		if (total > MAX_TOTAL)
			return error_set(err, ERR_UNSUPPORTED,
					 "it has more than 1 MiB of extended attributes");
		if (size > fs->xattr_bytes_left)
			return error_set(err, ERR_UNSUPPORTED,
					 "all files together have more than 256 MiB of extended "
					 "attributes");
		fs->xattr_bytes_left -= size;
		if (take_entry(fs, &entry, xattrs, err) < 0)
			return -1;
	}
	return found;
}

static int check_block_checksum(const Extfs *fs, uint64_t number, const uint8_t *block, Error **err)
{
	uint64_t where = htole64(number);
	uint32_t sum;

	if (!fs->has_checksums)
		return 0;
	sum = extfs_checksum(fs->seed, &where, sizeof(where));
	sum = extfs_checksum_around(sum, block, fs->block_size, BLOCK_CHECKSUM, 4);
	if (sum != get32(block + BLOCK_CHECKSUM))
		return extfs_damaged(err, "the checksum of a block of attributes is wrong");
	return 0;
}

/* Files share such blocks, so that they are not counted as followed; there is one a file at most. */
static int take_block(Extfs *fs, uint64_t number, ExtXattrs *xattrs, Error **err)
{
	auto_free uint8_t *block = xmalloc(fs->block_size);
	Area area = {
		.entries = block + BLOCK_HEADER_SIZE,
		.entries_size = fs->block_size - BLOCK_HEADER_SIZE,
		.values = block,
		.values_size = fs->block_size,
	};

	if (!extfs_has_blocks(fs, number, 1))
		return extfs_damaged(err, "a block of attributes does not exist");
	if (extfs_read_bytes(fs, number * fs->block_size, block, fs->block_size, err) < 0)
		return -1;
	if (get32(block) != XATTR_MAGIC || get32(block + BLOCK_COUNT) != 1)
		return extfs_damaged(err, "a block of attributes is none");
	if (check_block_checksum(fs, number, block, err) < 0)
		return -1;
	return take_area(fs, &area, xattrs, err);
}

static int by_name(const void *one, const void *other)
{
	return strcmp(((const ExtXattr *)one)->name, ((const ExtXattr *)other)->name);
}

int extfs_xattrs(Extfs *fs, const ExtInode *inode, ExtXattrs *out, Error **err)
{
	auto_ext_xattrs ExtXattrs xattrs = { 0 };
	Area area = { 0 };

	if (inode_area(fs, inode, &area) && take_area(fs, &area, &xattrs, err) < 0)
		return -1;
	if (inode->xattr_block && take_block(fs, inode->xattr_block, &xattrs, err) < 0)
		return -1;
	if (xattrs.count > 0)
		qsort(xattrs.items, xattrs.count, sizeof(*xattrs.items), by_name);
	for (size_t i = 1; i < xattrs.count; i++)
		if (!strcmp(xattrs.items[i - 1].name, xattrs.items[i].name))
			return extfs_damaged(err, "a file has an extended attribute twice");
	*out = xattrs;
	xattrs = (ExtXattrs){ 0 };
	return 0;
}

void ext_xattrs_release(ExtXattrs *xattrs)
{
	for (size_t i = 0; i < xattrs->count; i++) {
		free(xattrs->items[i].name);
		free(xattrs->items[i].value);
	}
	free(xattrs->items);
	*xattrs = (ExtXattrs){ 0 };
}
