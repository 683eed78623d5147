/*
 * Finding a directory in the tree the way a kernel with its root there would: symlinks are followed inside the root,
 * an absolute target begins at the root, and ".." of the root is the root.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/tree.h"
#include "util/error.h"

#define WALK_MAX_SYMLINKS 40u /* followed in one path */

typedef enum WalkEnd {
	WALK_FOUND,    /* `at` is the directory */
	WALK_MISSING,  /* nothing has that name */
	WALK_DANGLING, /* symlink `at` leads to nothing */
	WALK_LOOP,     /* more than 40 symlinks, the last being `at` */
	WALK_FILE,     /* the path ends at `at`, neither a directory nor a symlink */
	WALK_BLOCKED,  /* the path goes on below such a file */
	WALK_REPLACED, /* symlink or obstacle `at` has an entry in layer `without` */
} WalkEnd;

typedef struct Walk {
	Tree *tree;
	bool create;	  /* make missing directories 0755, 0:0; never on behalf of a symlink */
	uint16_t without; /* end at what this layer replaces; 0: no such layer */
	WalkEnd end;	  /* where it came to */
	Node *at;
} Walk;

/* Follow `length` bytes of a path from the root to a directory. -1 only when a limit of the tree forbids to create. */
int walk_to_directory(Walk *walk, const char *path, size_t length, Error **err);

/* Turn an end other than WALK_FOUND into an error about `path`; returns -1. */
int walk_refuse(const Walk *walk, const char *path, Error **err);

/* Whatever `path` leads to, its last symlink followed too; NULL when that is nothing. Creates nothing. */
Node *walk_to_file(Tree *tree, const char *path);
