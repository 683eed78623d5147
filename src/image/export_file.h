/*
 * The content of a file, straight from the disk into the tar; holes stay holes.
 */
#pragma once

#include "image/extfs.h"
#include "image/packer.h"
#include "image/tarwrite.h"
#include "util/error.h"

typedef struct ExportProgress {
	void (*tell)(uint64_t bytes, uint64_t total); /* NULL: nobody listens */
	uint64_t bytes;
	uint64_t total;	 /* about */
	int64_t last_ms; /* when it was told last */
} ExportProgress;

/* `file` says all but the content. */
int export_file(Extfs *fs, Packer *packer, const ExtInode *inode, const TarMember *file,
		ExportProgress *progress, Error **err);
