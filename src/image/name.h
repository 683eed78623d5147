/*
 * Names in a layer: what a path of a tar member means, and which paths are refused.
 *
 * OCI image-spec, layer.md ("Representing Changes"): a last component ".wh.NAME" removes NAME of the layers below,
 * ".wh..wh..opq" hides everything below in its directory. Other ".wh..wh.*" are leftovers of aufs and mean nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

#define NAME_MAX_PATH	    4096u /* bytes of a path as it stands in the layer */
#define NAME_MAX_COMPONENTS 1024u

typedef enum NameKind {
	NAME_PLAIN,
	NAME_WHITEOUT, /* the path is what is removed */
	NAME_OPAQUE,   /* the path is the directory */
	NAME_IGNORED,
} NameKind;

/* Bring a path to the form "a/b/c", "" being the root: leading "/" and "./", empty and "." components are dropped.
 * ERR_UNSUPPORTED for what is too long; ERR_FAILED for "..", NUL bytes and the empty path. */
int name_clean(const char *raw, size_t length, char **out_path, Error **err);

/* The same for the name of a layer's member, with its markers decoded. */
int name_parse(const char *raw, size_t length, bool is_directory, NameKind *out_kind,
	       char **out_path, Error **err);

/* Split "a/b/c" into the length of "a/b" and a pointer to "c". */
size_t name_parent(const char *path, const char **out_base);
