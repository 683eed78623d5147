/*
 * The image file while it is being filled: file data goes straight to its final blocks, through a buffer that joins
 * what lies side by side. One rule holds everywhere: a block that is not handed out reads as zeros.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "image/blockmap.h"
#include "image/inode.h"
#include "util/error.h"

typedef struct Disk {
	int fd; /* borrowed */
	BlockMap map;
	unsigned char *buffer; /* data for `buffer_at`, not written yet */
	uint64_t buffer_at;    /* bytes from the start of the image */
	size_t buffer_used;
} Disk;

/* `fd` is an empty file open for reading and writing. */
void disk_init(Disk *disk, int fd);
void disk_release(Disk *disk);
#define auto_disk CLEANUP(disk_release)

/* Write a piece of a regular file's (or directory's) content at `offset`, taking the blocks it needs. Pieces of a file
 * come in ascending order and do not overlap; what is left out is a hole. */
int disk_append(Disk *disk, Inode *inode, uint64_t offset, const void *data, size_t size,
		Error **err);

/* Write bytes at a place of the image. */
int disk_write(Disk *disk, uint64_t at, const void *data, size_t size, Error **err);
/* The content of a regular file, an empty text if it has more than `max` bytes; the caller's, and terminated. */
int disk_read(Disk *disk, const Inode *inode, size_t max, char **out_text, size_t *out_length,
	      Error **err);
/* Bring the buffer to the file: before anybody else reads it, or writes there. */
int disk_flush(Disk *disk, Error **err);

/* Give the blocks of a file back and make them zeros again. */
int disk_discard(Disk *disk, const Inode *inode, Error **err);
/* Make a run of blocks read as zeros. */
int disk_zero(int fd, uint64_t start, uint64_t count, Error **err);
