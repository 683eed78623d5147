#include "image/xattr.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "image/acl.h"
#include "util/mem.h"
#include "util/str.h"

#define NAME_MAX_BYTES 255u /* behind the namespace */

static bool is_acl_name(const char *name)
{
	return !strcmp(name, ACL_ACCESS) || !strcmp(name, ACL_DEFAULT);
}

static bool is_acl_text(const char *name)
{
	return !strcmp(name, ACL_TEXT_ACCESS) || !strcmp(name, ACL_TEXT_DEFAULT);
}

/* The names in it are looked up when the image is complete (acl_settle.h). */
static int accept_acl_text(Inode *inode, const char *name, const void *value, size_t size,
			   Error **err)
{
	static const AclNames nobody = { 0 };
	auto_acl Acl acl = { 0 };

	if (acl_read(value, size, &nobody, &nobody, &acl, err) < 0)
		return error_wrap(err, "'%s'", name);
	inode_set_xattr(inode, name, value, size);
	return 0;
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
		/* libext2fs converts it to ext4's form and trusts its shape. */
		if (!acl_is_valid(value, size))
			return refuse(name, "is no POSIX ACL", err);
		inode_set_xattr(inode, name, value, size);
		return 0;
	}
	if (is_acl_text(name))
		return accept_acl_text(inode, name, value, size, err);
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
