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

typedef struct TarCheck {
	TarState state;
	unsigned char block[TAR_BLOCK];
	size_t block_used;
	uint64_t skip;		 /* bytes of data and padding to pass over */
	Strbuf extension;	 /* body in hand */
	uint64_t extension_left; /* with its padding */
	uint64_t extension_size;
	char extension_type;
	bool is_tar;	 /* a good header has been seen */
	bool is_pending; /* an extended header waits for its member */
	bool has_size;	 /* ... and gives its size */
	uint64_t pending_size;
} TarCheck;

/* Look at the next bytes of the stream. */
int tarcheck_feed(TarCheck *check, const void *data, size_t size, Error **err);
/* The stream has ended: may it end here? */
int tarcheck_end(const TarCheck *check, Error **err);
void tarcheck_release(TarCheck *check);
#define auto_tarcheck CLEANUP(tarcheck_release)
