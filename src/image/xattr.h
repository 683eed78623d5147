/*
 * Which extended attributes of a layer's member an inode gets.
 */
#pragma once

#include <stddef.h>

#include "image/inode.h"
#include "util/error.h"

typedef enum XattrVerdict {
	XATTR_KEPT,
	XATTR_DROPPED, /* of a namespace that ext4 has no place for */
} XattrVerdict;

/* Add an attribute if its namespace is user, trusted, security or POSIX ACLs, these also in text. Malformed names and
 * ACLs are refused. */
int xattr_accept(Inode *inode, const char *name, const void *value, size_t size,
		 XattrVerdict *out_verdict, Error **err);
