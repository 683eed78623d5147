#include "image/acl_settle.h"

#include <string.h>

#include "image/acl.h"
#include "image/walk.h"
#include "util/mem.h"
#include "util/str.h"

#define MAX_NAMES_FILE (4u << 20)
#define MAX_WARNINGS   16u

typedef struct Settling {
	Tree *tree;
	Disk *disk;
	char *texts[2]; /* of the two files; NULL: not read yet */
	AclNames users;
	AclNames groups;
	Strv unknown; /* names that have been warned of */
	void (*on_warning)(const char *message);
} Settling;

static void settling_release(Settling *settling)
{
	for (size_t i = 0; i < ARRAY_SIZE(settling->texts); i++)
		free(settling->texts[i]);
	acl_names_release(&settling->users);
	acl_names_release(&settling->groups);
	strv_release(&settling->unknown);
}

static int read_names(Settling *settling, const char *path, char **text, AclNames *names,
		      Error **err)
{
	const Node *node = walk_to_file(settling->tree, path);
	size_t length = 0;

	if (!node || !S_ISREG(node->inode->mode)) {
		*text = xstrdup("");
		return 0;
	}
	if (disk_read(settling->disk, node->inode, MAX_NAMES_FILE, text, &length, err) < 0)
		return error_wrap(err, "'/%s' of the image", path);
	acl_names_read(names, *text, length);
	return 0;
}

/* Once for each name, not for each of a thousand files that have it. */
static void warn(Settling *settling, const Node *node, const char *name)
{
	auto_free char *path = NULL;
	auto_free char *message = NULL;

	if (!settling->on_warning || settling->unknown.count == MAX_WARNINGS ||
	    strv_has(&settling->unknown, name))
		return;
	strv_push(&settling->unknown, name);
	path = tree_path(node);
	message = xasprintf("the ACL of '%s' was left out: the image has no %s", path, name);
	settling->on_warning(message);
}

static int settle_one(Settling *settling, const Node *node, const char *name, Error **err)
{
	bool is_access = !strcmp(name, ACL_TEXT_ACCESS);
	Inode *inode = node->inode;
	auto_acl Acl acl = { 0 };
	auto_xattr Xattr text = { 0 };

	/* Symlinks have no ACL, and only directories have one to pass on. */
	if (!inode_take_xattr(inode, name, &text) || S_ISLNK(inode->mode) ||
	    (!is_access && !inode_is_directory(inode)) ||
	    inode_has_xattr(inode, is_access ? ACL_ACCESS : ACL_DEFAULT))
		return 0;
	if (!settling->texts[0] &&
	    (read_names(settling, "etc/passwd", &settling->texts[0], &settling->users, err) < 0 ||
	     read_names(settling, "etc/group", &settling->texts[1], &settling->groups, err) < 0))
		return -1;
	if (acl_read(text.value, text.size, &settling->users, &settling->groups, &acl, err) < 0) {
		auto_free char *path = tree_path(node);

		return error_wrap(err, "'%s'", path);
	}
	if (acl.unknown)
		warn(settling, node, acl.unknown);
	if (is_access)
		inode->mode = (inode->mode & ~0777u) |
			      (acl.unknown ? acl.without : acl.permissions);
	if (acl.attribute && !(is_access && acl.is_minimal))
		inode_set_xattr(inode, is_access ? ACL_ACCESS : ACL_DEFAULT, acl.attribute,
				acl.size);
	return 0;
}

int acl_settle(Tree *tree, Disk *disk, void (*on_warning)(const char *message), Error **err)
{
	CLEANUP(settling_release)
	Settling settling = { .tree = tree, .disk = disk, .on_warning = on_warning };

	for (const Node *node = tree->root; node; node = tree_next(node)) {
		if (!node->inode->xattrs)
			continue;
		if (settle_one(&settling, node, ACL_TEXT_ACCESS, err) < 0 ||
		    settle_one(&settling, node, ACL_TEXT_DEFAULT, err) < 0)
			return -1;
	}
	return 0;
}
