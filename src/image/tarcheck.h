/*
 * A strict look at a tar stream before libarchive reads it.
 *
 * libarchive accepts what it can make sense of, as a tool for people's archives should. A layer is hostile until shown
 * otherwise, and what it means must not depend on a reader's kindness: so the raw headers are checked here, for what
 * libarchive would pass over in silence (NUL bytes that cut names short, members of unknown or multi-volume type,
 * extended headers that belong to nothing, data behind the end of the archive). It interprets nothing else.
 *
 * Format: POSIX.1-2017 pax "ustar Interchange Format" and "pax Header Block", GNU tar "Basic Tar Format".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/pax.h"
#include "util/error.h"
#include "util/str.h"

#define TAR_BLOCK	  512u
#define TAR_MAX_EXTENSION (1u << 20) /* bytes of one pax or GNU header */

typedef enum TarState {
	TAR_HEADER,
	TAR_SPARSE_MAP, /* blocks behind an old GNU sparse header */
	TAR_EXTENSION,	/* the body of a pax or GNU header */
	TAR_DATA,
	TAR_END, /* zeros until the stream ends */
} TarState;

/* What libarchive gets wrong of a member: ACLs in text it takes apart, of two families of records for extended attributes it does not say which
 * value came from where (SCHILY's, which are these, win), and it adds fractions to times before 1970. */
typedef struct TarOverride {
	uint64_t member;
	bool has_xattrs;
	bool has_mtime;
	Inode *attributes; /* holds them */
} TarOverride;

typedef struct TarCheck {
	TarState state;
	unsigned char block[TAR_BLOCK];
	size_t block_used;
	uint64_t skip;		 /* bytes of data and padding to pass over */
	Strbuf extension;	 /* body in hand */
	uint64_t extension_left; /* with its padding */
	uint64_t extension_size;
	char extension_type;
	bool is_tar;		/* a good header has been seen */
	bool is_pending;	/* an extended header waits for its member */
	bool has_long_name;	/* ... among them a GNU long name */
	bool has_long_link;	/* ... or long link target */
	bool names_directory;	/* ... and that name ends with "/" */
	PaxFacts pending;	/* what the last pax header says of that member */
	uint64_t members;	/* seen so far, as libarchive counts them */
	TarOverride *overrides; /* in ascending order of members */
	size_t override_count;
} TarCheck;

/* Look at the next bytes of the stream. */
int tarcheck_feed(TarCheck *check, const void *data, size_t size, Error **err);
/* The stream has ended: may it end here? */
int tarcheck_end(const TarCheck *check, Error **err);
/* What to correct in that member (the first is 1); empty when there is nothing. Ask in ascending order. */
TarOverride tarcheck_take_override(TarCheck *check, uint64_t member);
void tar_override_release(TarOverride *override);
#define auto_override CLEANUP(tar_override_release)
void tarcheck_release(TarCheck *check);
#define auto_tarcheck CLEANUP(tarcheck_release)
