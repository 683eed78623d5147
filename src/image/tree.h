/*
 * The file tree of the image in memory: directories of names, each pointing to an inode. It knows nothing of layers
 * (merge.h) nor of ext4 (ext4.h), and it never recurses, since a hostile image may be a thousand directories deep.
 *
 * A node belongs to its tree. An inode belongs to the nodes that name it and is released with the last one; the
 * tree's owner hears of that first, to give the blocks of its data back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/inode.h"
#include "util/error.h"

#define TREE_MAX_NODES	    2000000u
#define TREE_MAX_NAME_BYTES (256ull << 20)
#define TREE_MAX_DEPTH	    1024u
#define TREE_MAX_LINKS	    65000u /* what ext4 allows a file */
#define TREE_MAX_NAME	    255u

typedef struct Node Node;

/* There are millions of these: the order of members leaves no gaps. */
struct Node {
	Node *parent; /* NULL for the root */
	Node *next;   /* siblings, in the order of insertion */
	Node *previous;
	Node *first_child; /* directories only, as the next */
	Node *last_child;
	Node *bucket_next; /* chain of the tree's hash table */
	Inode *inode;
	uint16_t depth;	      /* the root is 0 */
	uint16_t replaced_in; /* merge.c: the last layer with an entry of its own in this place */
	bool doomed;	      /* merge.c: a whiteout has been found that removes it */
	uint8_t name_length;
	char name[]; /* with a terminating NUL */
};

typedef struct Tree {
	Node *root;
	Node **buckets;
	size_t bucket_count; /* a power of two */
	size_t node_count;   /* without the root */
	uint64_t name_bytes;
	int64_t created;   /* modification time of directories that no layer describes */
	uint64_t removals; /* grows with every removed node: what was resolved before may be gone */
	void (*on_release)(void *arg,
			   const Inode *inode); /* the last name of a file has gone; may be NULL */
	void *on_release_arg;
} Tree;

/* An empty root: 0755, 0:0, modified at `created` (seconds since 1970). */
void tree_init(Tree *tree, int64_t created);
/* Free everything; nothing is reported to on_release. */
void tree_release(Tree *tree);

/* The child of that name, or NULL. */
Node *tree_find(const Tree *tree, const Node *dir, const char *name, size_t length);

/* Name `inode` in `dir`, where nothing has that name yet. The inode gains a link; on failure it is untouched.
 * ERR_UNSUPPORTED when a limit of the tree is reached. */
int tree_add(Tree *tree, Node *dir, const char *name, size_t length, Inode *inode, Node **out,
	     Error **err);

/* Remove a node and everything below it; never the root. */
void tree_remove(Tree *tree, Node *node);
void tree_remove_children(Tree *tree, Node *dir);

/* Put the children of a directory into this order: all of them, each once. */
void tree_order_children(Node *dir, Node *const *order, size_t count);

/* Walk parents before children: the first call gets the root, NULL ends. */
Node *tree_next(const Node *node);

/* The path of a node from the root, for messages: "/usr/bin". The caller frees it. */
char *tree_path(const Node *node);

#define auto_tree CLEANUP(tree_release)
