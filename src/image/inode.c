#include "image/inode.h"

#include <string.h>

#include "util/mem.h"

Inode *inode_new(uint32_t mode)
{
	Inode *inode = xcalloc(1, sizeof(*inode));

	inode->mode = mode;
	return inode;
}

static void xattrs_free(XattrList *list)
{
	if (!list)
		return;
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].name);
		free(list->items[i].value);
	}
	free(list->items);
	free(list);
}

void inode_free(Inode *inode)
{
	if (!inode)
		return;
	if (S_ISREG(inode->mode) || S_ISDIR(inode->mode))
		free(inode->extents);
	else if (S_ISLNK(inode->mode))
		free(inode->target);
	xattrs_free(inode->xattrs);
	free(inode);
}

void inode_add_extent(Inode *inode, uint32_t logical, uint64_t physical, uint32_t count)
{
	uint32_t used = inode->extent_count;
	Extent *last = used ? &inode->extents[used - 1] : NULL;

	if (last && last->logical + last->count == logical &&
	    last->physical + last->count == physical) {
		last->count += count;
		return;
	}
	/* The capacity is the next power of two: most files have one extent, none pays for more. */
	if ((used & (used - 1)) == 0)
		inode->extents =
			xreallocarray(inode->extents, used ? 2 * (size_t)used : 1, sizeof(Extent));
	inode->extents[used] = (Extent){ .physical = physical, .logical = logical, .count = count };
	inode->extent_count++;
}

void inode_set_xattr(Inode *inode, const char *name, const void *value, size_t size)
{
	XattrList *list = inode->xattrs ? inode->xattrs : xcalloc(1, sizeof(*list));
	Xattr *item = NULL;

	inode->xattrs = list;
	for (size_t i = 0; i < list->count && !item; i++)
		if (!strcmp(list->items[i].name, name))
			item = &list->items[i];
	if (item) {
		free(item->value);
	} else {
		list->items = xreallocarray(list->items, list->count + 1, sizeof(*item));
		item = &list->items[list->count++];
		item->name = xstrdup(name);
	}
	item->value = xmalloc(size);
	if (size)
		memcpy(item->value, value, size);
	item->size = size;
}

void inode_adopt_attributes(Inode *inode, Inode *from)
{
	inode->mode = from->mode;
	inode->uid = from->uid;
	inode->gid = from->gid;
	inode->mtime = from->mtime;
	inode->mtime_ns = from->mtime_ns;
	xattrs_free(inode->xattrs);
	inode->xattrs = steal(&from->xattrs);
}
