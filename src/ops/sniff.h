/*
 * What a file is, by its first bytes: names lie, contents do so less easily.
 */
#pragma once

#include <stddef.h>

#define SNIFF_BYTES 69632 /* as far as the signatures that we know reach into a file */

typedef enum SniffKind {
	SNIFF_TAR,
	SNIFF_PACKED, /* compressed: what is within is another question */
	SNIFF_DISK,   /* raw: an ext4, or a partition table */
	SNIFF_QCOW2,
	SNIFF_OTHER,
} SniffKind;

typedef struct Sniffed {
	SniffKind kind;
	const char *what;     /* for messages: "a zip archive" */
	const char *unpacker; /* of SNIFF_PACKED: the program, which takes -dc */
} Sniffed;

/* `len` may be less than SNIFF_BYTES, when the file is shorter or the rest has not come yet. */
Sniffed sniff(const void *data, size_t len);
