/*
 * Members of a pax tar, as GNU tar, libarchive, Go and ember-image read them: nanoseconds, any owner and size, names of
 * any bytes and length, extended attributes (SCHILY.xattr), holes (GNU sparse 1.0).
 *
 * Format: POSIX.1-2017 pax; GNU tar manual, "Storing Sparse Files".
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "image/extfs.h"
#include "image/packer.h"
#include "util/error.h"

typedef enum TarType {
	TAR_FILE = '0',
	TAR_HARD_LINK = '1',
	TAR_SYMLINK = '2',
	TAR_CHARACTER_DEVICE = '3',
	TAR_BLOCK_DEVICE = '4',
	TAR_DIRECTORY = '5',
	TAR_FIFO = '6',
} TarType;

typedef struct TarPiece {
	uint64_t at;
	uint64_t size;
} TarPiece;

/* Strings and arrays are borrowed. */
typedef struct TarMember {
	TarType type;
	const char *path;   /* ends with "/" when it is a directory */
	const char *target; /* of a link */
	uint32_t mode;	    /* permissions */
	uint32_t uid;
	uint32_t gid;
	uint32_t major;
	uint32_t minor;
	int64_t mtime;
	uint32_t mtime_ns;	 /* after mtime, also before 1970 */
	uint64_t size;		 /* of a file */
	const ExtXattrs *xattrs; /* NULL: none */
	const TarPiece *pieces;	 /* where a sparse file has data, in order; NULL: everywhere */
	size_t piece_count;
} TarMember;

/* The headers, and a sparse file's map. Its content, then tar_write_padding(), come after it: `size` bytes, or those of
 * the pieces one after the other. */
int tar_write_header(Packer *packer, const TarMember *member, Error **err);
/* Fill the last block. */
int tar_write_padding(Packer *packer, Error **err);
/* The two empty blocks at the end. */
int tar_write_end(Packer *packer, Error **err);
