/*
 * POSIX ACLs as GNU tar and bsdtar write them into pax headers (SCHILY.acl.access, SCHILY.acl.default), in text, made into
 * the extended attributes that a kernel takes.
 *
 * Text: "user::rw-,user:lisa:rwx:502,group::r-x,mask::rwx,other::r--", entries parted by commas or newlines; the last number
 * is optional (star(5), acl(5)). Attribute: linux/posix_acl_xattr.h. Pure functions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/acl_names.h"
#include "util/error.h"

/* What such records are called, here also as attributes of an inode until the names in them are known. */
#define ACL_TEXT_ACCESS	 "SCHILY.acl.access"
#define ACL_TEXT_DEFAULT "SCHILY.acl.default"
#define ACL_ACCESS	 "system.posix_acl_access"
#define ACL_DEFAULT	 "system.posix_acl_default"

typedef struct Acl {
	void *attribute; /* owned */
	size_t size;
	bool is_minimal;      /* an access ACL says no more than the permission bits do */
	uint32_t permissions; /* the nine bits that go with an access ACL */
	uint32_t without;     /* ... and without it: the group keeps only what it had itself */
	char *unknown;	      /* owned; who has no number, so that there is no attribute; or NULL */
} Acl;

/* ERR_FAILED when the text is no ACL. */
int acl_read(const char *text, size_t length, const AclNames *users, const AclNames *groups,
	     Acl *out, Error **err);
void acl_release(Acl *acl);
#define auto_acl CLEANUP(acl_release)

/* Is this the attribute of an ACL? */
bool acl_is_valid(const void *attribute, size_t size);
