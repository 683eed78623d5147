/*
 * An ext2, ext3 or ext4 filesystem as somebody left it, read and never written.
 *
 * Nothing in it is believed: every number is checked before it is used, checksums are verified where the filesystem has
 * them, and no block is followed more often than the filesystem has blocks, so that whatever a stranger wrote costs no
 * more time and output than the size of its disk. Damage is an error that says where.
 *
 * Format: Documentation/filesystems/ext4 in the Linux sources.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/compiler.h"
#include "util/error.h"

#define EXTFS_ROOT	     2u
#define EXTFS_MAX_INODE_SIZE 4096u
#define EXTFS_MAX_LINK	     65536u /* of a symlink's target; the kernel stops at 4,096 */

typedef struct Extfs {
	int fd;		 /* borrowed */
	uint64_t offset; /* of the filesystem in the file */
	uint32_t block_size;
	uint64_t first_block;
	uint64_t block_count;
	uint32_t inode_count;
	uint32_t inodes_per_group;
	uint32_t inode_size;
	uint32_t first_inode; /* the first that is not the filesystem's own */
	uint32_t group_count;
	uint64_t *inode_tables; /* of each group: its first block */
	uint64_t free_blocks;
	uint64_t own_blocks; /* about: of tables, bitmaps and the journal, which hold no content */
	uint64_t free_inodes;
	uint32_t seed; /* of all checksums */
	bool has_checksums;
	bool is_marked;		   /* as damaged, by whoever mounted it */
	bool needs_recovery;	   /* the journal holds changes, or nobody unmounted it */
	uint64_t blocks_left;	   /* that may still be followed */
	uint64_t xattr_bytes_left; /* of extended attributes that may still be read */
} Extfs;

typedef struct ExtInode {
	uint32_t number;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t links;
	uint32_t flags; /* EXT4_..._FL */
	uint64_t size;
	int64_t mtime;
	uint32_t mtime_ns;
	uint32_t major; /* of a device */
	uint32_t minor;
	uint64_t xattr_block;
	uint32_t seed;			   /* of the checksums of what belongs to it */
	uint8_t raw[EXTFS_MAX_INODE_SIZE]; /* inode_size bytes of it */
} ExtInode;

/* A piece of a file: `count` blocks in a row. What no run covers reads as zeros. */
typedef struct ExtRun {
	uint64_t logical;
	uint64_t physical;
	uint64_t count;
} ExtRun;

typedef struct ExtMap {
	ExtRun *runs; /* in the order of the file, as far as it reaches */
	size_t count;
	size_t room;
} ExtMap;

typedef struct ExtName {
	uint32_t inode;
	uint32_t length;
	size_t at; /* in `bytes` */
} ExtName;

typedef struct ExtNames {
	ExtName *items; /* ordered by their bytes; without "." and ".." */
	size_t count;
	size_t room;
	char *bytes; /* each name ends with a NUL */
	size_t used;
	size_t bytes_room;
} ExtNames;

typedef struct ExtXattr {
	char *name; /* as the kernel shows it: "user.a" */
	uint8_t *value;
	size_t size;
} ExtXattr;

typedef struct ExtXattrs {
	ExtXattr *items; /* ordered by name */
	size_t count;
} ExtXattrs;

/* `size`: bytes from the offset to the end of the disk or partition. ERR_UNSUPPORTED for features nobody here knows. */
int extfs_open(Extfs *fs, int fd, uint64_t offset, uint64_t size, Error **err);
/* About what the content of all files takes. */
uint64_t extfs_used_bytes(const Extfs *fs);
void extfs_release(Extfs *fs);
#define auto_extfs CLEANUP(extfs_release)

/* An inode that some name refers to: one that is free is damage, one that is encrypted ERR_UNSUPPORTED. */
int extfs_read_inode(Extfs *fs, uint32_t number, ExtInode *out, Error **err);

/* Where a file's content is. Content that lies in the inode itself has no map: extfs_is_inline(). */
int extfs_map(Extfs *fs, const ExtInode *inode, ExtMap *out, Error **err);
void ext_map_release(ExtMap *map);
#define auto_ext_map CLEANUP(ext_map_release)

bool extfs_is_inline(const ExtInode *inode);
/* The whole content of a file of at most `max` bytes, NUL-terminated; the caller owns it. */
int extfs_read_file(Extfs *fs, const ExtInode *inode, size_t max, char **out_data, Error **err);
int extfs_read_link(Extfs *fs, const ExtInode *inode, char **out_target, Error **err);
/* Bytes of the disk below a file's map. */
int extfs_read_bytes(const Extfs *fs, uint64_t at, void *data, size_t size, Error **err);

/* At most `max` names; more is ERR_UNSUPPORTED. */
int extfs_list(Extfs *fs, const ExtInode *dir, size_t max, ExtNames *out, Error **err);
void ext_names_release(ExtNames *names);
#define auto_ext_names CLEANUP(ext_names_release)
/* The inode of a name in a directory, 0 when there is none. */
int extfs_find(Extfs *fs, const ExtInode *dir, const char *name, uint32_t *out_inode, Error **err);
/* Follow "usr/lib/x" from the root, no symlinks: 1 found, 0 not, -1 error. */
int extfs_walk(Extfs *fs, const char *path, ExtInode *out, Error **err);

int extfs_xattrs(Extfs *fs, const ExtInode *inode, ExtXattrs *out, Error **err);
void ext_xattrs_release(ExtXattrs *xattrs);
#define auto_ext_xattrs CLEANUP(ext_xattrs_release)
