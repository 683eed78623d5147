/*
 * Inodes that have been met under a name, and that name: the second name of a file becomes a hard link to the first.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/compiler.h"
#include "util/error.h"

typedef struct Link {
	uint32_t inode; /* 0: free */
	size_t at;	/* of the name, in `names` */
} Link;

/* Zero is empty. */
typedef struct Links {
	Link *slots;
	size_t room; /* a power of two */
	size_t count;
	char *names;
	size_t used;
	size_t names_room;
} Links;

/* The name it was met under, borrowed until the next is added; NULL: not met. */
const char *links_find(const Links *links, uint32_t inode);
/* ERR_UNSUPPORTED when there are more names than memory is meant for. */
int links_add(Links *links, uint32_t inode, const char *name, Error **err);
void links_release(Links *links);
#define auto_links CLEANUP(links_release)
