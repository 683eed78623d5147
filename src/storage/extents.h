/*
 * Which bytes of a filesystem belong to which of its files, when files share blocks.
 *
 * All extents of all files are put in the order of their places, and one sweep over them sees for
 * each byte who maps it: one file alone, then it is exclusive, or several. What st_blocks says is no
 * use for that: it counts a shared block in every file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/os.h"

/* What belongs to one owner: a file, or several that are counted as one. */
typedef struct ExtentCount {
	bool is_unknown; /* the filesystem does not tell, or its figures are no bytes: compression */
	uint64_t mapped_bytes;	  /* of all its files, shared or not, each byte once */
	uint64_t exclusive_bytes; /* never more than `mapped_bytes` */
} ExtentCount;

/* Show the extents of one file to `visit` (os_extents). May be called several times for each.
 * -1: they cannot be known. */
typedef int (*ExtentSource)(void *arg, size_t file, OsExtentVisit visit, void *visit_arg);

typedef struct ExtentSet {
	ExtentSource source;
	void *arg;
	size_t file_count;
} ExtentSet;

/* To whom the files belong. The same sweep serves several ways to see that. */
typedef struct ExtentView {
	const size_t *owners; /* of each file; NULL: each is its own */
	size_t owner_count;   /* without owners: file_count */
	ExtentCount *counts;  /* filled in for each owner; the caller's room */
} ExtentView;

/* How many ends of extents are held at a time, 16 bytes each and as much to sort them. With more of them
 * the places are taken in as many turns as that needs. */
#define EXTENTS_HELD (1U << 20)

/* Count what each owner of each view has; there is one view at least. *out_unique_bytes has each byte
 * once, of those that are known. */
void extents_count(const ExtentSet *set, const ExtentView *views, size_t view_count,
		   size_t held_max, uint64_t *out_unique_bytes);
