#include "image/tree.h"

#include <assert.h>
#include <string.h>

#include "util/mem.h"
#include "util/str.h"

#define FIRST_BUCKETS 1024

/* Where a name's chain begins: FNV-1a, begun with the directory's address so that equal names spread. */
static Node **bucket_of(const Tree *tree, const Node *dir, const char *name, size_t length)
{
	uint64_t hash = 0xcbf29ce484222325ull ^ ((uintptr_t)dir >> 4);

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)name[i]) * 0x100000001b3ull;
	return &tree->buckets[(hash ^ (hash >> 32)) & (tree->bucket_count - 1)];
}

static Node *node_new(const char *name, size_t length, Inode *inode)
{
	/* Up to the name: the compiler would round the size up. */
	Node *node = xcalloc(1, offsetof(Node, name) + length + 1);

	memcpy(node->name, name, length);
	node->name_length = (uint8_t)length;
	node->inode = inode;
	return node;
}

void tree_init(Tree *tree, int64_t created)
{
	Inode *inode = inode_new(S_IFDIR | 0755);

	inode->mtime = created;
	inode->links = 1;
	*tree = (Tree){
		.root = node_new("", 0, inode),
		.buckets = xcalloc(FIRST_BUCKETS, sizeof(Node *)),
		.bucket_count = FIRST_BUCKETS,
		.created = created,
	};
}

static void drop_inode(Tree *tree, Inode *inode)
{
	if (--inode->links > 0)
		return;
	if (tree->on_release)
		tree->on_release(tree->on_release_arg, inode);
	inode_free(inode);
}

void tree_release(Tree *tree)
{
	if (!tree->root)
		return;
	tree->on_release = NULL;
	tree_remove_children(tree, tree->root);
	drop_inode(tree, tree->root->inode);
	free(tree->root);
	free(tree->buckets);
	*tree = (Tree){ 0 };
}

Node *tree_find(const Tree *tree, const Node *dir, const char *name, size_t length)
{
	for (Node *node = *bucket_of(tree, dir, name, length); node; node = node->bucket_next)
		if (node->parent == dir && node->name_length == length &&
		    !memcmp(node->name, name, length))
			return node;
	return NULL;
}

static void bucket_insert(Tree *tree, Node *node)
{
	Node **bucket = bucket_of(tree, node->parent, node->name, node->name_length);

	node->bucket_next = *bucket;
	*bucket = node;
}

static void bucket_remove(Tree *tree, const Node *node)
{
	Node **link = bucket_of(tree, node->parent, node->name, node->name_length);

	while (*link != node)
		link = &(*link)->bucket_next;
	*link = node->bucket_next;
}

static void grow_buckets(Tree *tree)
{
	free(tree->buckets);
	tree->bucket_count *= 2;
	tree->buckets = xcalloc(tree->bucket_count, sizeof(Node *));
	for (Node *node = tree_next(tree->root); node; node = tree_next(node))
		bucket_insert(tree, node);
}

static int check_limits(const Tree *tree, const Node *dir, size_t length, const Inode *inode,
			Error **err)
{
	if (tree->node_count >= TREE_MAX_NODES) {
		error_set(err, ERR_UNSUPPORTED, "image has more than %u files", TREE_MAX_NODES);
		return error_hint(err, "remove files from the image, or split it");
	}
	if (tree->name_bytes + length > TREE_MAX_NAME_BYTES) {
		error_set(err, ERR_UNSUPPORTED, "names of the image's files exceed %llu MiB",
			  TREE_MAX_NAME_BYTES >> 20);
		return error_hint(err, "remove files from the image, or split it");
	}
	if (dir->depth >= TREE_MAX_DEPTH) {
		error_set(err, ERR_UNSUPPORTED, "directories are nested more than %u deep",
			  TREE_MAX_DEPTH);
		return error_hint(err, "make the image without such a directory");
	}
	if (inode->links >= TREE_MAX_LINKS) {
		error_set(err, ERR_UNSUPPORTED, "a file has more than %u hard links",
			  TREE_MAX_LINKS);
		return error_hint(err, "ext4 allows no more: make the image with fewer");
	}
	return 0;
}

int tree_add(Tree *tree, Node *dir, const char *name, size_t length, Inode *inode, Node **out,
	     Error **err)
{
	Node *node;

	assert(inode_is_directory(dir->inode) && length > 0 && length <= TREE_MAX_NAME);
	if (check_limits(tree, dir, length, inode, err) < 0)
		return -1;
	if (tree->node_count >= tree->bucket_count)
		grow_buckets(tree);

	node = node_new(name, length, inode);
	node->parent = dir;
	node->depth = (uint16_t)(dir->depth + 1);
	node->previous = dir->last_child;
	if (dir->last_child)
		dir->last_child->next = node;
	else
		dir->first_child = node;
	dir->last_child = node;
	bucket_insert(tree, node);
	inode->links++;
	tree->node_count++;
	tree->name_bytes += length;
	*out = node;
	return 0;
}

/* Unhook and free a node that has no children (any more). */
static void remove_leaf(Tree *tree, Node *node)
{
	Node *dir = node->parent;

	if (node->previous)
		node->previous->next = node->next;
	else
		dir->first_child = node->next;
	if (node->next)
		node->next->previous = node->previous;
	else
		dir->last_child = node->previous;
	bucket_remove(tree, node);
	tree->node_count--;
	tree->name_bytes -= node->name_length;
	tree->removals++;
	drop_inode(tree, node->inode);
	free(node);
}

void tree_remove_children(Tree *tree, Node *dir)
{
	Node *node = dir;

	for (;;) {
		while (node->first_child)
			node = node->first_child;
		if (node == dir)
			return;
		Node *parent = node->parent;

		remove_leaf(tree, node);
		node = parent;
	}
}

void tree_remove(Tree *tree, Node *node)
{
	assert(node->parent);
	tree_remove_children(tree, node);
	remove_leaf(tree, node);
}

void tree_order_children(Node *dir, Node *const *order, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		order[i]->previous = i > 0 ? order[i - 1] : NULL;
		order[i]->next = i + 1 < count ? order[i + 1] : NULL;
	}
	dir->first_child = count ? order[0] : NULL;
	dir->last_child = count ? order[count - 1] : NULL;
}

Node *tree_next(const Node *node)
{
	if (node->first_child)
		return node->first_child;
	while (node && !node->next)
		node = node->parent;
	return node ? node->next : NULL;
}

char *tree_path(const Node *node)
{
	const Node *chain[TREE_MAX_DEPTH + 1];
	auto_strbuf Strbuf path = { 0 };
	size_t count = 0;

	for (; node->parent; node = node->parent)
		chain[count++] = node;
	if (!count)
		strbuf_addc(&path, '/');
	while (count > 0) {
		const Node *part = chain[--count];

		strbuf_addc(&path, '/');
		strbuf_add(&path, part->name, part->name_length);
	}
	return str_make_printable(strbuf_take(&path));
}
