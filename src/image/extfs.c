#include "image/extfs.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "image/extfs_format.h"
#include "util/mem.h"

/*
 * The superblock and the table of groups.
 */

/* Offsets in the superblock. */
enum {
	SB_INODES = 0x00,
	SB_BLOCKS = 0x04,
	SB_FIRST_BLOCK = 0x14,
	SB_LOG_BLOCK_SIZE = 0x18,
	SB_LOG_CLUSTER_SIZE = 0x1c,
	SB_BLOCKS_PER_GROUP = 0x20,
	SB_INODES_PER_GROUP = 0x28,
	SB_MAGIC = 0x38,
	SB_STATE = 0x3a,
	SB_REVISION = 0x4c,
	SB_FIRST_INODE = 0x54,
	SB_INODE_SIZE = 0x58,
	SB_COMPAT = 0x5c,
	SB_INCOMPAT = 0x60,
	SB_RO_COMPAT = 0x64,
	SB_UUID = 0x68,
	SB_JOURNAL_INODE = 0xe0,
	SB_DESCRIPTOR_SIZE = 0xfe,
	SB_FIRST_META_GROUP = 0x104,
	SB_BLOCKS_HIGH = 0x150,
	SB_BACKUPS = 0x24c,
	SB_CHECKSUM_SEED = 0x270,
	SB_CHECKSUM = 0x3fc,
};
#define SB_AT		1024u
#define SB_SIZE		1024u
#define MAX_GROUPS	(1u << 20) /* 128 TiB in groups of the usual size */
#define MAX_XATTR_BYTES (256u << 20)

#define INCOMPAT_KNOWN                                                                             \
	(EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_RECOVER |                          \
	 EXT2_FEATURE_INCOMPAT_META_BG | EXT3_FEATURE_INCOMPAT_EXTENTS |                           \
	 EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_MMP | EXT4_FEATURE_INCOMPAT_FLEX_BG | \
	 EXT4_FEATURE_INCOMPAT_EA_INODE | EXT4_FEATURE_INCOMPAT_CSUM_SEED |                        \
	 EXT4_FEATURE_INCOMPAT_LARGEDIR | EXT4_FEATURE_INCOMPAT_INLINE_DATA |                      \
	 EXT4_FEATURE_INCOMPAT_ENCRYPT | EXT4_FEATURE_INCOMPAT_CASEFOLD)

int extfs_damaged(Error **err, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list args;

	va_start(args, fmt);
	text = xvasprintf(fmt, args);
	va_end(args);
	error_set(err, ERR_FAILED, "the filesystem is damaged: %s", text);
	return error_hint(err, "see what a check says: e2fsck -fn DISK");
}

uint32_t extfs_checksum(uint32_t seed, const void *data, size_t size)
{
	return ext2fs_crc32c_le(seed, data, size);
}

uint32_t extfs_checksum_around(uint32_t seed, const uint8_t *data, size_t size, size_t at,
			       size_t hole)
{
	static const uint8_t nothing[4];
	uint32_t sum = extfs_checksum(seed, data, at);

	sum = extfs_checksum(sum, nothing, hole);
	return extfs_checksum(sum, data + at + hole, size - at - hole);
}

int extfs_read_bytes(const Extfs *fs, uint64_t at, void *data, size_t size, Error **err)
{
	uint8_t *bytes = data;

	while (size > 0) {
		ssize_t done = pread(fs->fd, bytes, size, (off_t)(fs->offset + at));

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0) {
			error_set_errno(err, errno, "read the disk");
			return error_hint(err, "see whether it is failing: dmesg | tail");
		}
		if (done == 0)
			return extfs_damaged(err, "the disk ends before it does");
		bytes += done;
		at += (uint64_t)done;
		size -= (size_t)done;
	}
	return 0;
}

int extfs_spend(Extfs *fs, uint64_t count, Error **err)
{
	if (count > fs->blocks_left)
		return extfs_damaged(err, "its files use more blocks than it has");
	fs->blocks_left -= count;
	return 0;
}

bool extfs_has_blocks(const Extfs *fs, uint64_t block, uint64_t count)
{
	return block >= fs->first_block && block < fs->block_count &&
	       count <= fs->block_count - block;
}

int extfs_read_block(Extfs *fs, uint64_t block, void *data, Error **err)
{
	if (!extfs_has_blocks(fs, block, 1))
		return extfs_damaged(err, "block %llu does not exist", (unsigned long long)block);
	if (extfs_spend(fs, 1, err) < 0)
		return -1;
	return extfs_read_bytes(fs, block * fs->block_size, data, fs->block_size, err);
}

static int check_features(const uint8_t *sb, Error **err)
{
	uint32_t incompat = get32(sb + SB_INCOMPAT);

	if (incompat & EXT3_FEATURE_INCOMPAT_JOURNAL_DEV)
		return error_set(err, ERR_UNSUPPORTED,
				 "the disk is a journal of another filesystem, not a filesystem");
	if (incompat & ~(uint32_t)INCOMPAT_KNOWN)
		return error_set(err, ERR_UNSUPPORTED,
				 "the filesystem has features that ember does not know (0x%x)",
				 incompat & ~(uint32_t)INCOMPAT_KNOWN);
	if (get32(sb + SB_RO_COMPAT) & EXT4_FEATURE_RO_COMPAT_SHARED_BLOCKS)
		return error_set(err, ERR_UNSUPPORTED,
				 "the filesystem's files share blocks (shared_blocks)");
	return 0;
}

/* Sizes and counts: each is checked as far as later arithmetic relies on it. */
static int read_geometry(Extfs *fs, const uint8_t *sb, uint64_t size, Error **err)
{
	bool is_64bit = get32(sb + SB_INCOMPAT) & EXT4_FEATURE_INCOMPAT_64BIT;
	bool is_old = get32(sb + SB_REVISION) == 0;
	uint32_t shift = get32(sb + SB_LOG_BLOCK_SIZE);
	uint32_t blocks_per_group = get32(sb + SB_BLOCKS_PER_GROUP);
	uint64_t groups;

	if (shift > 6)
		return extfs_damaged(err, "its block size is none");
	fs->block_size = 1024u << shift;
	fs->block_count = get32(sb + SB_BLOCKS);
	if (is_64bit)
		fs->block_count |= (uint64_t)get32(sb + SB_BLOCKS_HIGH) << 32;
	fs->first_block = get32(sb + SB_FIRST_BLOCK);
	fs->inode_count = get32(sb + SB_INODES);
	fs->inodes_per_group = get32(sb + SB_INODES_PER_GROUP);
	fs->inode_size = is_old ? INODE_CORE_SIZE : get16(sb + SB_INODE_SIZE);
	fs->first_inode = is_old ? EXT2_GOOD_OLD_FIRST_INO : get32(sb + SB_FIRST_INODE);
	if (fs->block_count > size / fs->block_size)
		return extfs_damaged(err, "it says that it is larger than its disk");
	if (fs->first_block > (shift ? 0 : 1) || fs->first_block >= fs->block_count ||
	    blocks_per_group < 8 || fs->inodes_per_group < 8 ||
	    fs->inodes_per_group > fs->block_size * 8)
		return extfs_damaged(err, "its superblock contradicts itself");
	if (fs->inode_size < INODE_CORE_SIZE || (fs->inode_size & (fs->inode_size - 1)) ||
	    fs->inode_size > fs->block_size || fs->first_inode < EXT2_GOOD_OLD_FIRST_INO)
		return extfs_damaged(err, "its inodes have no possible size");
	if (fs->inode_size > EXTFS_MAX_INODE_SIZE)
		return error_set(err, ERR_UNSUPPORTED, "inodes of %u bytes are not supported",
				 fs->inode_size);
	groups = (fs->block_count - fs->first_block + blocks_per_group - 1) / blocks_per_group;
	if (groups > MAX_GROUPS || fs->inode_count != groups * fs->inodes_per_group)
		return extfs_damaged(err, "its groups of blocks and inodes do not match");
	fs->group_count = (uint32_t)groups;
	return 0;
}

static int check_superblock(Extfs *fs, const uint8_t *sb, Error **err)
{
	fs->has_checksums = get32(sb + SB_RO_COMPAT) & EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
	if (get32(sb + SB_INCOMPAT) & EXT4_FEATURE_INCOMPAT_CSUM_SEED)
		fs->seed = get32(sb + SB_CHECKSUM_SEED);
	else
		fs->seed = extfs_checksum(UINT32_MAX, sb + SB_UUID, 16);
	if (fs->has_checksums &&
	    extfs_checksum(UINT32_MAX, sb, SB_CHECKSUM) != get32(sb + SB_CHECKSUM))
		return extfs_damaged(err, "its superblock's checksum is wrong");
	return 0;
}

/* The flag alone says only that somebody has mounted it; no inode means that the journal is on another disk. */
static bool needs_recovery(Extfs *fs, const uint8_t *sb)
{
	bool has_journal = get32(sb + SB_COMPAT) & EXT3_FEATURE_COMPAT_HAS_JOURNAL;
	bool was_mounted = get32(sb + SB_INCOMPAT) & EXT3_FEATURE_INCOMPAT_RECOVER;
	uint32_t inode = get32(sb + SB_JOURNAL_INODE);
	uint64_t blocks = 0;
	bool is_used;

	if (!has_journal)
		return was_mounted || !(get16(sb + SB_STATE) & EXT2_VALID_FS);
	is_used = inode == 0 || extfs_journal_is_used(fs, inode, &blocks);
	fs->own_blocks += blocks;
	return was_mounted && is_used;
}

/* Offsets in a group's descriptor; the second half is there in 64-bit filesystems only. */
enum {
	GROUP_INODE_TABLE = 0x08,
	GROUP_FREE_BLOCKS = 0x0c,
	GROUP_FREE_INODES = 0x0e,
	GROUP_CHECKSUM = 0x1e,
	GROUP_INODE_TABLE_HIGH = 0x28,
	GROUP_FREE_BLOCKS_HIGH = 0x2c,
	GROUP_FREE_INODES_HIGH = 0x2e,
};
#define GROUP_SIZE	 32u
#define GROUP_SIZE_64BIT 64u

static int check_group_checksum(const Extfs *fs, uint32_t group, const uint8_t *raw, size_t size,
				Error **err)
{
	uint32_t number = htole32(group);
	uint32_t sum;

	if (!fs->has_checksums)
		return 0;
	sum = extfs_checksum(fs->seed, &number, sizeof(number));
	sum = extfs_checksum_around(sum, raw, size, GROUP_CHECKSUM, 2);
	if ((sum & 0xffff) != get16(raw + GROUP_CHECKSUM))
		return extfs_damaged(err, "the checksum of group %u is wrong", group);
	return 0;
}

static int take_group(Extfs *fs, uint32_t group, const uint8_t *raw, size_t size, Error **err)
{
	uint64_t bytes = (uint64_t)fs->inodes_per_group * fs->inode_size;
	uint64_t table = get32(raw + GROUP_INODE_TABLE);

	if (check_group_checksum(fs, group, raw, size, err) < 0)
		return -1;
	fs->free_blocks += get16(raw + GROUP_FREE_BLOCKS);
	fs->free_inodes += get16(raw + GROUP_FREE_INODES);
	if (size >= GROUP_SIZE_64BIT) {
		table |= (uint64_t)get32(raw + GROUP_INODE_TABLE_HIGH) << 32;
		fs->free_blocks += (uint64_t)get16(raw + GROUP_FREE_BLOCKS_HIGH) << 16;
		fs->free_inodes += (uint64_t)get16(raw + GROUP_FREE_INODES_HIGH) << 16;
	}
	if (!extfs_has_blocks(fs, table, (bytes + fs->block_size - 1) / fs->block_size))
		return extfs_damaged(err, "the inodes of group %u are nowhere", group);
	fs->inode_tables[group] = table;
	fs->own_blocks += (bytes + fs->block_size - 1) / fs->block_size + 2; /* two bitmaps */
	return 0;
}

/* Has this group a copy of the superblock, and so what follows it? */
static bool has_superblock(const uint8_t *sb, uint64_t group)
{
	if (get32(sb + SB_COMPAT) & EXT4_FEATURE_COMPAT_SPARSE_SUPER2)
		return group == 0 || group == get32(sb + SB_BACKUPS) ||
		       group == get32(sb + SB_BACKUPS + 4);
	if (group <= 1 || !(get32(sb + SB_RO_COMPAT) & EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER))
		return true;
	for (unsigned base = 3; base <= 7; base += 2) {
		uint64_t power = base;

		while (power < group)
			power *= base;
		if (power == group)
			return true;
	}
	return false;
}

/* The block of descriptors number `index`: behind the superblock, or (meta_bg) in the first of the groups it describes. */
static uint64_t descriptor_block(const Extfs *fs, const uint8_t *sb, uint32_t index,
				 uint32_t per_block)
{
	uint64_t group = (uint64_t)index * per_block;
	bool is_meta = get32(sb + SB_INCOMPAT) & EXT2_FEATURE_INCOMPAT_META_BG;
	/* bigalloc counts from block 0 even where the superblock is block 1 */
	uint64_t start = fs->first_block + (fs->first_block == 0 && fs->block_size == 1024);

	if (!is_meta || index < get32(sb + SB_FIRST_META_GROUP))
		return start + 1 + index;
	if (group > 0)
		start = fs->first_block + group * get32(sb + SB_BLOCKS_PER_GROUP);
	return start + (has_superblock(sb, group) ? 1 : 0);
}

static int read_groups(Extfs *fs, const uint8_t *sb, Error **err)
{
	auto_free uint8_t *block = xmalloc(fs->block_size);
	bool is_64bit = get32(sb + SB_INCOMPAT) & EXT4_FEATURE_INCOMPAT_64BIT;
	uint32_t size = is_64bit ? get16(sb + SB_DESCRIPTOR_SIZE) : GROUP_SIZE;
	uint32_t per_block;

	if (is_64bit && (size < GROUP_SIZE_64BIT || size > 1024 || (size & (size - 1))))
		return extfs_damaged(err, "its groups have no possible size");
	per_block = fs->block_size / size;
	fs->inode_tables = xcalloc(fs->group_count, sizeof(*fs->inode_tables));
	for (uint32_t group = 0; group < fs->group_count; group++) {
		uint32_t in_block = group % per_block;

		if (in_block == 0 &&
		    extfs_read_block(fs, descriptor_block(fs, sb, group / per_block, per_block),
				     block, err) < 0)
			return -1;
		if (take_group(fs, group, block + (size_t)in_block * size, size, err) < 0)
			return -1;
	}
	return 0;
}

uint64_t extfs_used_bytes(const Extfs *fs)
{
	uint64_t used = fs->block_count - fs->free_blocks;

	return used > fs->own_blocks ? (used - fs->own_blocks) * fs->block_size : 0;
}

int extfs_open(Extfs *fs, int fd, uint64_t offset, uint64_t size, Error **err)
{
	auto_extfs Extfs opened = { .fd = fd, .offset = offset };
	uint8_t sb[SB_SIZE];

	if (size < SB_AT + SB_SIZE)
		return error_set(err, ERR_UNSUPPORTED, "%llu bytes are no filesystem",
				 (unsigned long long)size);
	if (extfs_read_bytes(&opened, SB_AT, sb, sizeof(sb), err) < 0)
		return -1;
	if (get16(sb + SB_MAGIC) != EXT2_SUPER_MAGIC)
		return error_set(err, ERR_UNSUPPORTED, "there is no ext4 filesystem");
	if (check_superblock(&opened, sb, err) < 0 || check_features(sb, err) < 0 ||
	    read_geometry(&opened, sb, size, err) < 0)
		return -1;
	opened.blocks_left = opened.block_count;
	opened.xattr_bytes_left = MAX_XATTR_BYTES;
	if (read_groups(&opened, sb, err) < 0)
		return -1;
	opened.is_marked = get16(sb + SB_STATE) & EXT2_ERROR_FS;
	opened.needs_recovery = opened.is_marked || needs_recovery(&opened, sb);
	if (get32(sb + SB_RO_COMPAT) & EXT4_FEATURE_RO_COMPAT_BIGALLOC)
		opened.free_blocks <<=
			(get32(sb + SB_LOG_CLUSTER_SIZE) - get32(sb + SB_LOG_BLOCK_SIZE)) & 31;
	if (opened.free_blocks > opened.block_count)
		opened.free_blocks = opened.block_count;
	if (opened.free_inodes > opened.inode_count)
		opened.free_inodes = opened.inode_count;
	*fs = opened;
	opened = (Extfs){ 0 };
	return 0;
}

void extfs_release(Extfs *fs)
{
	free(fs->inode_tables);
	*fs = (Extfs){ 0 };
}
