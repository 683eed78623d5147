#include <string.h>
#include <time.h>

#include "image/ext4_format.h"
#include "util/mem.h"

#define LABEL		     "ember"
#define DESCRIPTOR_PER_BLOCK 64u
#define GROUPS_PER_FLEX_LOG2 4

int ext4_fail(Error **err, errcode_t code, const char *what)
{
	if (code == EXT2_ET_BLOCK_ALLOC_FAIL || code == EXT2_ET_INODE_ALLOC_FAIL)
		return blockmap_refuse_full(err);
	/* libext2fs passes errno through. */
	if (code > 0 && code < 4096)
		return error_set_errno(err, (int)code, "%s", what);
	error_set(err, ERR_FAILED, "%s: %s", what, error_message(code));
	return error_hint(err, "this looks like a defect of ember-image: please report it");
}

static void fill_parameters(const Ext4 *ext4, struct ext2_super_block *param)
{
	uint64_t area = ext4_descriptor_area(ext4->params->max_bytes);
	uint64_t in_use = (ext4->group_count + DESCRIPTOR_PER_BLOCK - 1) / DESCRIPTOR_PER_BLOCK;

	ext2fs_blocks_count_set(param, ext4->block_count);
	param->s_inodes_count = ext4->inodes_per_group * ext4->group_count;
	param->s_log_block_size = 2;
	param->s_rev_level = EXT2_DYNAMIC_REV;
	param->s_inode_size = EXT4_INODE_BYTES;
	param->s_log_groups_per_flex = GROUPS_PER_FLEX_LOG2;
	param->s_reserved_gdt_blocks = (uint16_t)(area - in_use);
	param->s_feature_compat = EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_RESIZE_INODE |
				  EXT2_FEATURE_COMPAT_DIR_INDEX;
	param->s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
				    EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG |
				    (ext4->xattr_inodes ? EXT4_FEATURE_INCOMPAT_EA_INODE : 0);
	param->s_feature_ro_compat =
		EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
		EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
		EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
}

/* What mke2fs would take from the clock and from chance comes from the content, so that an image can be made again. */
static void set_identity(const Ext4 *ext4)
{
	struct ext2_super_block *super = ext4->fs->super;
	time_t born = ext4->params->time > 0 ? (time_t)ext4->params->time : 1;

	ext4->fs->now = born;
	super->s_mkfs_time = super->s_lastcheck = super->s_wtime = (uint32_t)born;
	memcpy(super->s_uuid, ext4->params->uuid, sizeof(super->s_uuid));
	memcpy(super->s_hash_seed, ext4->hash_seed, sizeof(super->s_hash_seed));
	memcpy(super->s_volume_name, LABEL, sizeof(LABEL) - 1);
	super->s_checksum_type = EXT2_CRC32C_CHKSUM;
	super->s_max_mnt_count = -1; /* no check that counts mounts */
	super->s_def_hash_version = EXT2_HASH_HALF_MD4;
	super->s_flags = (super->s_flags & ~(uint32_t)EXT2_FLAGS_SIGNED_HASH) |
			 EXT2_FLAGS_UNSIGNED_HASH;
	super->s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
	ext2fs_init_csum_seed(ext4->fs);
}

int ext4_open_filesystem(Ext4 *ext4, Error **err)
{
	struct ext2_super_block param = { 0 };
	auto_free char *name = xasprintf("%d", ext4->disk->fd);
	errcode_t code;

	fill_parameters(ext4, &param);
	code = ext2fs_initialize(name, EXT2_FLAG_64BITS | EXT2_FLAG_EXCLUSIVE, &param,
				 &ext4_io_manager, &ext4->fs);
	if (code)
		return ext4_fail(err, code, "initialize the filesystem");
	if (ext2fs_blocks_count(ext4->fs->super) != ext4->block_count ||
	    ext4->fs->group_desc_count != ext4->group_count ||
	    ext4->fs->super->s_inodes_per_group != ext4->inodes_per_group)
		return ext4_fail(err, EXT2_ET_CORRUPT_SUPERBLOCK, "initialize the filesystem");
	set_identity(ext4);
	return 0;
}

int ext4_mark_used(Ext4 *ext4, Error **err)
{
	auto_free BlockRun *items = NULL;
	BlockRuns used = { 0 };

	blockmap_used(&ext4->disk->map, &used);
	items = used.items;
	for (size_t i = 0; i < used.count; i++) {
		uint64_t at = items[i].start;
		uint64_t left = items[i].count;

		if (at + left > ext4->block_count)
			return blockmap_refuse_full(err);
		while (left > 0) {
			blk_t part = left < EXT4_BLOCKS_PER_GROUP ? (blk_t)left
								  : EXT4_BLOCKS_PER_GROUP;

			ext2fs_block_alloc_stats_range(ext4->fs, at, part, +1);
			at += part;
			left -= part;
		}
	}
	for (ext2_ino_t number = 1; number < ext4->inode_count; number++) {
		const Inode *inode = ext4->inodes[number];

		ext2fs_inode_alloc_stats2(ext4->fs, number, +1, inode && inode_is_directory(inode));
	}
	/* The tables' unused part is a hole and reads as zeros: the kernel need not write them. */
	for (dgrp_t group = 0; group < ext4->group_count; group++) {
		ext2fs_bg_flags_set(ext4->fs, group, EXT2_BG_INODE_ZEROED);
		ext2fs_group_desc_csum_set(ext4->fs, group);
	}
	return 0;
}

int ext4_add_special_inodes(Ext4 *ext4, Error **err)
{
	uint64_t end = ext4->disk->map.high_water;
	errcode_t code = ext2fs_create_resize_inode(ext4->fs);

	if (code)
		return ext4_fail(err, code, "make the resize inode");
	/* In one piece behind everything, unless that is where the image ends. */
	code = ext2fs_add_journal_inode2(ext4->fs, ext4->journal_blocks,
					 end < ext4->block_count ? end : 0,
					 EXT2_MKJOURNAL_NO_MNT_CHECK | EXT2_MKJOURNAL_LAZYINIT);
	return code ? ext4_fail(err, code, "make the journal") : 0;
}
