#include "image/inode.h"

#include <assert.h>
#include <string.h>

#include "util/mem.h"

Inode *inode_new(uint32_t mode)
{
	Inode *inode = xcalloc(1, sizeof(*inode));

	inode->mode = mode;
	return inode;
}

void xattr_release(Xattr *xattr)
{
	free(xattr->name);
	free(xattr->value);
	*xattr = (Xattr){ 0 };
}

static void xattrs_free(XattrList *list)
{
	if (!list)
		return;
	for (size_t i = 0; i < list->count; i++)
		xattr_release(&list->items[i]);
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
	assert(inode->extents);
	inode->extents[used] = (Extent){ .physical = physical, .logical = logical, .count = count };
	inode->extent_count++;
}

static Xattr *find_xattr(const Inode *inode, const char *name)
{
	for (size_t i = 0; inode->xattrs && i < inode->xattrs->count; i++)
		if (!strcmp(inode->xattrs->items[i].name, name))
			return &inode->xattrs->items[i];
	return NULL;
}

bool inode_take_xattr(Inode *inode, const char *name, Xattr *out)
{
	XattrList *list = inode->xattrs;
	Xattr *item = find_xattr(inode, name);

	if (!item)
		return false;
	*out = *item;
	list->count--;
	memmove(item, item + 1, (size_t)(list->items + list->count - item) * sizeof(*item));
	if (!list->count)
		xattrs_free(steal(&inode->xattrs));
	return true;
}

bool inode_has_xattr(const Inode *inode, const char *name)
{
	return find_xattr(inode, name) != NULL;
}

size_t inode_xattr_bytes(const Inode *inode)
{
	size_t bytes = 0;

	for (size_t i = 0; inode->xattrs && i < inode->xattrs->count; i++)
		bytes += strlen(inode->xattrs->items[i].name) + inode->xattrs->items[i].size;
	return bytes;
}

void inode_set_xattr(Inode *inode, const char *name, const void *value, size_t size)
{
	XattrList *list = inode->xattrs ? inode->xattrs : xcalloc(1, sizeof(*list));
	Xattr *item;

	inode->xattrs = list;
	item = find_xattr(inode, name);
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
