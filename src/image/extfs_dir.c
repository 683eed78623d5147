#include <stdlib.h>
#include <sys/stat.h>

#include "image/extfs_format.h"
#include "util/mem.h"

/*
 * Directories. The blocks of a hashed one read as if they were empty, so that all are read from first to last; what lies
 * in the inode itself (inline_data) is two short blocks without "." and "..".
 */

#define ENTRY_HEADER_SIZE 8u
#define TAIL_SIZE	  12u /* a nameless entry that holds the block's checksum */
#define TAIL_TYPE	  0xdeu
#define INLINE_PARENT	  4u	   /* bytes before the entries of an inline directory */
#define MAX_LOOKED_AT	  2000000u /* names in a directory that is searched */

enum { ENTRY_INODE = 0, ENTRY_LENGTH = 4, ENTRY_NAME_LENGTH = 6, ENTRY_TYPE = 7 };

static void add_name(ExtNames *names, uint32_t inode, const uint8_t *name, size_t length)
{
	if (names->count == names->room) {
		names->room = names->room ? names->room * 2 : 16;
		names->items = xreallocarray(names->items, names->room, sizeof(*names->items));
	}
	if (names->used + length + 1 > names->bytes_room) {
		names->bytes_room = (names->used + length + 1) * 2;
		names->bytes = xreallocarray(names->bytes, names->bytes_room, 1);
	}
	memcpy(names->bytes + names->used, name, length);
	names->bytes[names->used + length] = '\0';
	names->items[names->count++] = (ExtName){ inode, (uint32_t)length, names->used };
	names->used += length + 1;
}

static bool is_dot(const uint8_t *name, size_t length)
{
	return name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'));
}

/* The kernel writes lengths that do not fit 16 bits, of blocks of 64 KiB, as 65535 or 0. */
static size_t entry_length(const uint8_t *entry, size_t block_size)
{
	size_t length = get16(entry + ENTRY_LENGTH);

	if (block_size < 65536)
		return length;
	return length == 65535 || length == 0 ? 65536 : (length & 65532) | (length & 3) << 16;
}

static int take_entries(const Extfs *fs, const uint8_t *data, size_t size, size_t max,
			ExtNames *names, Error **err)
{
	for (size_t at = 0; at + ENTRY_HEADER_SIZE <= size;) {
		const uint8_t *entry = data + at;
		uint32_t inode = get32(entry + ENTRY_INODE);
		size_t length = entry_length(entry, fs->block_size);
		size_t name_length = entry[ENTRY_NAME_LENGTH];
		const uint8_t *name = entry + ENTRY_HEADER_SIZE;

		if (length < ENTRY_HEADER_SIZE + name_length || length > size - at || length % 4)
			return extfs_damaged(err, "an entry of a directory does not fit");
		at += length;
		if (inode == 0)
			continue;
		if (name_length == 0 || memchr(name, '/', name_length) ||
		    memchr(name, '\0', name_length))
			return extfs_damaged(err, "a directory has an impossible name");
		if (is_dot(name, name_length))
			continue;
		if (names->count == max)
			return error_set(err, ERR_UNSUPPORTED, "the filesystem has too many names");
		add_name(names, inode, name, name_length);
	}
	return 0;
}

/* The inner blocks of a hashed directory have their checksum elsewhere, and nothing that is believed here. */
static bool is_index_block(const ExtInode *dir, const uint8_t *block, uint64_t logical,
			   size_t block_size)
{
	if (!(dir->flags & EXT2_INDEX_FL))
		return false;
	return logical == 0 || (get32(block) == 0 && entry_length(block, block_size) == block_size);
}

static int check_block_checksum(const Extfs *fs, const ExtInode *dir, const uint8_t *block,
				uint64_t logical, Error **err)
{
	size_t data_size = fs->block_size - TAIL_SIZE;
	const uint8_t *tail = block + data_size;

	if (!fs->has_checksums || is_index_block(dir, block, logical, fs->block_size))
		return 0;
	if (get32(tail) != 0 || get16(tail + ENTRY_LENGTH) != TAIL_SIZE ||
	    tail[ENTRY_TYPE] != TAIL_TYPE ||
	    extfs_checksum(dir->seed, block, data_size) != get32(tail + ENTRY_HEADER_SIZE))
		return extfs_damaged(err, "the checksum of a directory's block is wrong");
	return 0;
}

static int take_mapped(Extfs *fs, const ExtInode *dir, size_t max, ExtNames *names, Error **err)
{
	auto_ext_map ExtMap map = { 0 };
	auto_free uint8_t *block = xmalloc(fs->block_size);

	if (extfs_map(fs, dir, &map, err) < 0)
		return -1;
	for (size_t i = 0; i < map.count; i++) {
		const ExtRun *run = &map.runs[i];

		for (uint64_t j = 0; j < run->count; j++)
			if (extfs_read_bytes(fs, (run->physical + j) * fs->block_size, block,
					     fs->block_size, err) < 0 ||
			    check_block_checksum(fs, dir, block, run->logical + j, err) < 0 ||
			    take_entries(fs, block, fs->block_size, max, names, err) < 0)
				return -1;
	}
	return 0;
}

static int take_inline(const Extfs *fs, const ExtInode *dir, size_t max, ExtNames *names,
		       Error **err)
{
	const uint8_t *rest = NULL;
	size_t rest_size = 0;

	if (extfs_inline_rest(fs, dir, &rest, &rest_size, err) < 0 ||
	    take_entries(fs, dir->raw + INODE_BLOCK + INLINE_PARENT,
			 INODE_BLOCK_SIZE - INLINE_PARENT, max, names, err) < 0)
		return -1;
	return rest_size ? take_entries(fs, rest, rest_size, max, names, err) : 0;
}

static int by_name(const void *one, const void *other, void *bytes)
{
	const ExtName *a = one, *b = other;

	return strcmp((const char *)bytes + a->at, (const char *)bytes + b->at);
}

int extfs_list(Extfs *fs, const ExtInode *dir, size_t max, ExtNames *out, Error **err)
{
	auto_ext_names ExtNames names = { 0 };

	if (!S_ISDIR(dir->mode))
		return extfs_damaged(err, "inode %u is no directory", dir->number);
	if ((extfs_is_inline(dir) ? take_inline(fs, dir, max, &names, err)
				  : take_mapped(fs, dir, max, &names, err)) < 0)
		return -1;
	if (names.count > 0)
		qsort_r(names.items, names.count, sizeof(*names.items), by_name, names.bytes);
	for (size_t i = 1; i < names.count; i++)
		if (!strcmp(names.bytes + names.items[i - 1].at, names.bytes + names.items[i].at))
			return extfs_damaged(err, "a directory has a name twice");
	*out = names;
	names = (ExtNames){ 0 };
	return 0;
}

void ext_names_release(ExtNames *names)
{
	free(names->items);
	free(names->bytes);
	*names = (ExtNames){ 0 };
}

int extfs_find(Extfs *fs, const ExtInode *dir, const char *name, uint32_t *out_inode, Error **err)
{
	auto_ext_names ExtNames names = { 0 };

	*out_inode = 0;
	if (extfs_list(fs, dir, MAX_LOOKED_AT, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++)
		if (!strcmp(names.bytes + names.items[i].at, name))
			*out_inode = names.items[i].inode;
	return 0;
}

int extfs_walk(Extfs *fs, const char *path, ExtInode *out, Error **err)
{
	auto_free char *words = xstrdup(path);
	char *rest = words;
	uint32_t number = EXTFS_ROOT;

	if (extfs_read_inode(fs, number, out, err) < 0)
		return -1;
	for (const char *name = strsep(&rest, "/"); name; name = strsep(&rest, "/")) {
		if (!S_ISDIR(out->mode))
			return 0;
		if (extfs_find(fs, out, name, &number, err) < 0)
			return -1;
		if (number == 0)
			return 0;
		if (extfs_read_inode(fs, number, out, err) < 0)
			return -1;
	}
	return 1;
}
