/*
 * The records of a pax extended header, checked for what libarchive lets pass.
 *
 * Format: POSIX.1-2017 pax, "pax Header Block": "LENGTH KEY=VALUE\n", LENGTH counting all of it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/inode.h"
#include "util/error.h"

/* What later checks need of a header. */
typedef struct PaxFacts {
	bool has_size;
	uint64_t size;
	bool has_path;
	bool has_linkpath;
	bool names_directory; /* the path ends with "/" */
	bool has_libarchive;  /* there are LIBARCHIVE.xattr.* records */
	bool has_acl;	      /* ... or ACLs in text */
	size_t xattr_bytes;   /* of the SCHILY.xattr.* records: names and values */
	bool has_early_time;  /* the modification time is a fraction before 1970 */
	Inode *attributes; /* that time, the SCHILY.xattr.* records and ACLs as they are; NULL: none of them */
} PaxFacts;

/* Check all records of one header. */
int pax_check(const char *text, size_t length, PaxFacts *out, Error **err);
void pax_facts_release(PaxFacts *facts);
#define auto_pax_facts CLEANUP(pax_facts_release)
