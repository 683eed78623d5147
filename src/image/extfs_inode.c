#include <sys/stat.h>

#include "image/extfs_format.h"
#include "util/mem.h"

/*
 * Inodes: found by number, verified, and put into plain numbers.
 */

static bool is_device(uint32_t mode)
{
	return S_ISCHR(mode) || S_ISBLK(mode);
}

static bool has_extra(const Extfs *fs, const uint8_t *raw, size_t end)
{
	return fs->inode_size > INODE_CORE_SIZE &&
	       INODE_CORE_SIZE + (size_t)get16(raw + INODE_EXTRA_SIZE) >= end;
}

static int check_checksum(const Extfs *fs, ExtInode *inode, Error **err)
{
	uint32_t number = htole32(inode->number);
	const uint8_t *raw = inode->raw;
	const uint8_t *extra = raw + INODE_CORE_SIZE;
	size_t extra_size = fs->inode_size - INODE_CORE_SIZE;
	bool is_long = has_extra(fs, raw, INODE_CHECKSUM_HIGH + 2);
	uint32_t sum, wanted;

	inode->seed = extfs_checksum(fs->seed, &number, sizeof(number));
	inode->seed = extfs_checksum(inode->seed, raw + INODE_GENERATION, 4);
	if (!fs->has_checksums)
		return 0;
	sum = extfs_checksum_around(inode->seed, raw, INODE_CORE_SIZE, INODE_CHECKSUM, 2);
	wanted = get16(raw + INODE_CHECKSUM);
	if (is_long) {
		sum = extfs_checksum_around(sum, extra, extra_size,
					    INODE_CHECKSUM_HIGH - INODE_CORE_SIZE, 2);
		wanted |= (uint32_t)get16(raw + INODE_CHECKSUM_HIGH) << 16;
	} else {
		sum = extfs_checksum(sum, extra, extra_size);
		sum &= 0xffff;
	}
	return sum == wanted
		       ? 0
		       : extfs_damaged(err, "the checksum of inode %u is wrong", inode->number);
}

/* Two forms: 8 and 8 bits in the first word, or 12 and 20 bits in the second (the kernel's new_encode_dev). */
static void decode_device(ExtInode *inode)
{
	uint32_t old = get32(inode->raw + INODE_BLOCK);
	uint32_t new = get32(inode->raw + INODE_BLOCK + 4);

	inode->major = old ? (old >> 8) & 0xff : (new >> 8) & 0xfff;
	inode->minor = old ? old & 0xff : (new & 0xff) | ((new >> 12) & 0xfff00);
}

static void decode(const Extfs *fs, ExtInode *inode)
{
	const uint8_t *raw = inode->raw;

	inode->mode = get16(raw + INODE_MODE);
	inode->uid = get16(raw + INODE_UID) | (uint32_t)get16(raw + INODE_UID_HIGH) << 16;
	inode->gid = get16(raw + INODE_GID) | (uint32_t)get16(raw + INODE_GID_HIGH) << 16;
	inode->links = get16(raw + INODE_LINKS);
	inode->flags = get32(raw + INODE_FLAGS);
	inode->size = get32(raw + INODE_SIZE) | (uint64_t)get32(raw + INODE_SIZE_HIGH) << 32;
	inode->xattr_block = get32(raw + INODE_XATTR_BLOCK) |
			     (uint64_t)get16(raw + INODE_XATTR_BLOCK_HIGH) << 32;
	inode->mtime = (int32_t)get32(raw + INODE_MTIME);
	inode->mtime_ns = 0;
	if (has_extra(fs, raw, INODE_MTIME_EXTRA + 4)) {
		uint32_t extra = get32(raw + INODE_MTIME_EXTRA);

		inode->mtime += (int64_t)(extra & 3) << 32;
		inode->mtime_ns = extra >> 2;
	}
	inode->major = 0;
	inode->minor = 0;
	if (is_device(inode->mode))
		decode_device(inode);
}

static int check(const Extfs *fs, const ExtInode *inode, Error **err)
{
	uint64_t longest = (uint64_t)fs->block_size << 32;

	if (inode->links == 0)
		return extfs_damaged(err, "inode %u is free, and yet has a name", inode->number);
	if (fs->inode_size > INODE_CORE_SIZE &&
	    INODE_CORE_SIZE + (size_t)get16(inode->raw + INODE_EXTRA_SIZE) > fs->inode_size)
		return extfs_damaged(err, "inode %u is longer than its place", inode->number);
	if (inode->mtime_ns > 999999999)
		return extfs_damaged(err, "the time of inode %u is none", inode->number);
	if (inode->size > longest)
		return extfs_damaged(err, "inode %u is longer than a file can be", inode->number);
	if (inode->flags & EXT4_ENCRYPT_FL)
		return error_set(err, ERR_UNSUPPORTED, "it is encrypted");
	if (inode->flags & EXT4_VERITY_FL)
		return error_set(err, ERR_UNSUPPORTED, "it is sealed by fs-verity");
	if (inode->flags & EXT4_CASEFOLD_FL)
		return error_set(err, ERR_UNSUPPORTED, "it is a directory that ignores case");
	return 0;
}

int extfs_read_own_inode(Extfs *fs, uint32_t number, ExtInode *out, Error **err)
{
	uint32_t group, index;
	uint64_t at;

	if (number == 0 || number > fs->inode_count)
		return extfs_damaged(err, "there is no inode %u", number);
	group = (number - 1) / fs->inodes_per_group;
	index = (number - 1) % fs->inodes_per_group;
	at = fs->inode_tables[group] * fs->block_size + (uint64_t)index * fs->inode_size;
	if (extfs_read_bytes(fs, at, out->raw, fs->inode_size, err) < 0)
		return -1;
	out->number = number;
	if (check_checksum(fs, out, err) < 0)
		return -1;
	decode(fs, out);
	return check(fs, out, err);
}

int extfs_read_inode(Extfs *fs, uint32_t number, ExtInode *out, Error **err)
{
	if (number < fs->first_inode && number != EXTFS_ROOT)
		return extfs_damaged(err, "inode %u cannot have a name", number);
	return extfs_read_own_inode(fs, number, out, err);
}

bool extfs_is_inline(const ExtInode *inode)
{
	return inode->flags & EXT4_INLINE_DATA_FL;
}
