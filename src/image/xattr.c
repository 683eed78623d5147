#include "image/xattr.h"

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "util/mem.h"
#include "util/str.h"

#define NAME_MAX_BYTES 255u /* behind the namespace */

/* linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id, all little-endian. */
#define ACL_VERSION	2u
#define ACL_HEADER_SIZE 4u
#define ACL_ENTRY_SIZE	8u

enum {
	ACL_USER_OBJ = 1,
	ACL_USER = 2,
	ACL_GROUP_OBJ = 4,
	ACL_GROUP = 8,
	ACL_MASK = 16,
	ACL_OTHER = 32
};

static bool is_acl_name(const char *name)
{
	return !strcmp(name, "system.posix_acl_access") ||
	       !strcmp(name, "system.posix_acl_default");
}

/* libext2fs converts ACLs to ext4's form and trusts their shape. */
static bool acl_is_valid(const unsigned char *value, size_t size)
{
	uint32_t version;

	if (size < ACL_HEADER_SIZE || (size - ACL_HEADER_SIZE) % ACL_ENTRY_SIZE != 0)
		return false;
	memcpy(&version, value, sizeof(version));
	if (le32toh(version) != ACL_VERSION)
		return false;
	for (size_t at = ACL_HEADER_SIZE; at < size; at += ACL_ENTRY_SIZE) {
		uint16_t tag;

		memcpy(&tag, value + at, sizeof(tag));
		switch (le16toh(tag)) {
		case ACL_USER_OBJ:
		case ACL_USER:
		case ACL_GROUP_OBJ:
		case ACL_GROUP:
		case ACL_MASK:
		case ACL_OTHER:
			break;
		default:
			return false;
		}
	}
	return true;
}

static int refuse(const char *name, const char *why, Error **err)
{
	auto_free char *shown = str_make_printable(xstrndup(name, 80));

	return error_set(err, ERR_FAILED, "extended attribute '%s' %s", shown, why);
}

int xattr_accept(Inode *inode, const char *name, const void *value, size_t size,
		 XattrVerdict *out_verdict, Error **err)
{
	static const char *const namespaces[] = { "user.", "trusted.", "security." };
	const char *rest = NULL;

	*out_verdict = XATTR_KEPT;
	if (is_acl_name(name)) {
		if (!acl_is_valid(value, size))
			return refuse(name, "is no POSIX ACL", err);
		inode_set_xattr(inode, name, value, size);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(namespaces) && !rest; i++)
		if (str_starts_with(name, namespaces[i]))
			rest = name + strlen(namespaces[i]);
	if (!rest) {
		*out_verdict = XATTR_DROPPED;
		return 0;
	}
	if (!*rest)
		return refuse(name, "has no name", err);
	if (strlen(rest) > NAME_MAX_BYTES)
		return refuse(name, "has a name longer than 255 bytes", err);
	inode_set_xattr(inode, name, value, size);
	return 0;
}
