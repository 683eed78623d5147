/*
 * One file of the image, whatever its type: everything its ext4 inode will say. Names live in tree.h and several may
 * share one inode (hard links). Pure data: no I/O, no ext4.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "util/compiler.h"

/* A run of a file's blocks. Blocks are 4 KiB, counted from the start of the file (logical) and of the image (physical). */
typedef struct Extent {
	uint64_t physical;
	uint32_t logical;
	uint32_t count; /* never 0 */
} Extent;

typedef struct Xattr {
	char *name; /* whole: "user.mime_type" */
	void *value;
	size_t size; /* of value in bytes; 0 is a value too */
} Xattr;

typedef struct XattrList {
	Xattr *items;
	size_t count;
} XattrList;

typedef struct Inode {
	uint32_t mode; /* S_IFMT and the twelve permission bits */
	uint32_t uid;
	uint32_t gid;
	uint32_t links;	 /* names in the tree that point here */
	uint32_t number; /* in ext4; 0 until it is laid out */
	uint32_t mtime_ns;
	int64_t mtime; /* seconds since 1970, may be negative */
	uint64_t
		size; /* bytes: a regular file's content, a symlink's target; a directory's once laid out */
	XattrList *xattrs; /* NULL: none */
	union {
		struct { /* regular files, and directories once ext4.c has laid them out */
			Extent *extents; /* ascending; holes are simply absent */
			uint32_t extent_count;
			uint32_t subdirectories; /* of a directory, once it is laid out */
		};
		struct { /* symlinks */
			char *target;
			uint64_t
				target_block; /* where ext4.c puts a target that the inode cannot hold */
		};
		struct { /* character and block devices */
			uint32_t major;
			uint32_t minor;
		} device;
	};
} Inode;

/* A fresh inode of 0:0 and 1970 without links. */
Inode *inode_new(uint32_t mode);
void inode_free(Inode *inode);

/* Record that `count` blocks of a regular file lie at `physical`; joins the last extent where it continues it.
 * Calls come in ascending logical order. */
void inode_add_extent(Inode *inode, uint32_t logical, uint64_t physical, uint32_t count);

/* Set one extended attribute, replacing a former value of that name. */
void inode_set_xattr(Inode *inode, const char *name, const void *value, size_t size);

/* Take one off; false when there is none of that name. */
bool inode_take_xattr(Inode *inode, const char *name, Xattr *out);
void xattr_release(Xattr *xattr);
#define auto_xattr CLEANUP(xattr_release)

bool inode_has_xattr(const Inode *inode, const char *name);
/* Names and values together. */
size_t inode_xattr_bytes(const Inode *inode);

/* Take over owner, mode, time and attributes of `from`, whose xattrs are consumed. Both are directories. */
void inode_adopt_attributes(Inode *inode, Inode *from);

static inline bool inode_is_directory(const Inode *inode)
{
	return S_ISDIR(inode->mode);
}

static inline void cleanup_inode_ptr(Inode **inode)
{
	inode_free(*inode);
}
#define auto_inode CLEANUP(cleanup_inode_ptr)
