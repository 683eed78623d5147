#include "image/merge.h"

#include <stdlib.h>
#include <string.h>

#include "image/name.h"
#include "image/walk.h"
#include "util/mem.h"
#include "util/str.h"

/* Entries of one directory follow each other, so the last parent is remembered with its path. */
typedef struct Merge {
	Tree *tree;
	uint16_t layer;
	char *parent_path;
	Node *parent;
	uint64_t parent_removals; /* tree->removals when it was found: valid while they are equal */
} Merge;

/* What a whiteout removes: the node, or what is below it. */
typedef struct Removal {
	Node *node;
	bool children_only;
} Removal;

typedef struct Removals {
	Removal *items;
	size_t count;
} Removals;

static void merge_release(Merge *merge)
{
	free(merge->parent_path);
}

static void removals_release(Removals *list)
{
	free(list->items);
}

static bool is_marker(EntryKind kind)
{
	return kind == ENTRY_WHITEOUT || kind == ENTRY_OPAQUE;
}

/* Remember the directory that a marker stands in; the path is consumed. */
static void note_marker(Layer *layer, EntryKind kind, char *path_take)
{
	const Strv *dirs = &layer->marker_dirs;
	const char *base;
	auto_free char *dir = path_take;

	if (kind == ENTRY_WHITEOUT)
		dir[name_parent(dir, &base)] = '\0';
	if (dirs->count && !strcmp(dirs->items[dirs->count - 1], dir))
		return;
	layer->marker_bytes += strlen(dir) + 1;
	strv_push_take(&layer->marker_dirs, steal(&dir));
}

void layer_add(Layer *layer, EntryKind kind, char *path_take, char *target_take, Inode *inode_take)
{
	if (layer->direct && is_marker(kind)) {
		note_marker(layer, kind, path_take);
		return;
	}
	if (layer->count == layer->capacity) {
		layer->capacity = layer->capacity ? layer->capacity + layer->capacity / 2 : 64;
		layer->entries =
			xreallocarray(layer->entries, layer->capacity, sizeof(*layer->entries));
	}
	layer->path_bytes += strlen(path_take) + 1 + (target_take ? strlen(target_take) + 1 : 0);
	layer->entries[layer->count++] = (LayerEntry){
		.kind = kind, .path = path_take, .target = target_take, .inode = inode_take
	};
}

static void entry_release(LayerEntry *entry)
{
	free(steal(&entry->path));
	free(steal(&entry->target));
	inode_free(steal(&entry->inode));
}

void layer_release(Layer *layer)
{
	for (size_t i = 0; i < layer->count; i++)
		entry_release(&layer->entries[i]);
	free(layer->entries);
	strv_release(&layer->marker_dirs);
	*layer = (Layer){ .number = layer->number, .direct = layer->direct };
}

/*
 * Whiteouts. They are looked up in the tree of the lower layers before anything changes, so that their order does not
 * matter; a symlink, or an obstacle, that this layer replaces ends the way: below it there is nothing of a lower layer.
 */

/* Remember in the lower tree which places have an entry of this layer. */
static int mark_replaced(Merge *merge, const Layer *layer, Error **err)
{
	for (size_t i = 0; i < layer->count; i++) {
		const LayerEntry *entry = &layer->entries[i];
		Walk walk = { .tree = merge->tree, .without = merge->layer };
		const char *base;
		size_t parent;
		Node *node;

		if (entry->kind != ENTRY_FILE && entry->kind != ENTRY_LINK)
			continue;
		parent = name_parent(entry->path, &base);
		if (walk_to_directory(&walk, entry->path, parent, err) < 0)
			return -1;
		node = walk.end == WALK_FOUND ? tree_find(merge->tree, walk.at, base, strlen(base))
					      : NULL;
		if (node)
			node->replaced_in = merge->layer;
	}
	return 0;
}

static int find_removal(Merge *merge, const LayerEntry *entry, Removals *list, Error **err)
{
	bool opaque = entry->kind == ENTRY_OPAQUE;
	Walk walk = { .tree = merge->tree, .without = merge->layer };
	const char *base;
	size_t length = opaque ? strlen(entry->path) : name_parent(entry->path, &base);
	Node *node;

	if (walk_to_directory(&walk, entry->path, length, err) < 0)
		return -1;
	if (walk.end == WALK_MISSING || walk.end == WALK_REPLACED)
		return 0;
	if (walk.end != WALK_FOUND)
		return walk_refuse(&walk, entry->path, err);

	node = opaque ? walk.at : tree_find(merge->tree, walk.at, base, strlen(base));
	if (!node || (!opaque && node->doomed))
		return 0;
	node->doomed = !opaque;
	list->items = xreallocarray(list->items, list->count + 1, sizeof(Removal));
	list->items[list->count++] = (Removal){ node, opaque };
	return 0;
}

/* Deepest first: what one removal frees, none of the following names. */
static int compare_removals(const void *a, const void *b)
{
	const Removal *one = a;
	const Removal *two = b;
	int depth_one = one->node->depth + (one->children_only ? 1 : 0);
	int depth_two = two->node->depth + (two->children_only ? 1 : 0);

	if (depth_one != depth_two)
		return depth_two - depth_one;
	return (int)one->children_only - (int)two->children_only;
}

static int apply_whiteouts(Merge *merge, const Layer *layer, Error **err)
{
	__attribute__((cleanup(removals_release))) Removals list = { 0 };
	bool any = false;

	for (size_t i = 0; i < layer->count && !any; i++)
		any = is_marker(layer->entries[i].kind);
	if (!any)
		return 0;
	if (mark_replaced(merge, layer, err) < 0)
		return -1;
	for (size_t i = 0; i < layer->count; i++) {
		if (is_marker(layer->entries[i].kind) &&
		    find_removal(merge, &layer->entries[i], &list, err) < 0)
			return -1;
	}
	if (list.count)
		qsort(list.items, list.count, sizeof(Removal), compare_removals);
	for (size_t i = 0; i < list.count; i++) {
		if (list.items[i].children_only)
			tree_remove_children(merge->tree, list.items[i].node);
		else
			tree_remove(merge->tree, list.items[i].node);
	}
	return 0;
}

/* The directory of an entry, made when it is missing. */
static int find_parent(Merge *merge, const char *path, size_t length, Node **out_dir, Error **err)
{
	Walk walk = { .tree = merge->tree, .create = true };

	if (merge->parent_path && merge->parent_removals == merge->tree->removals &&
	    strlen(merge->parent_path) == length && !memcmp(merge->parent_path, path, length)) {
		*out_dir = merge->parent;
		return 0;
	}
	if (walk_to_directory(&walk, path, length, err) < 0)
		return -1;
	if (walk.end != WALK_FOUND)
		return walk_refuse(&walk, path, err);
	free(merge->parent_path);
	merge->parent_path = xstrndup(path, length);
	merge->parent = walk.at;
	merge->parent_removals = merge->tree->removals;
	*out_dir = walk.at;
	return 0;
}

static int refuse(const char *path, const char *why, Error **err)
{
	auto_free char *shown = str_make_printable(xstrdup(path));

	return error_set(err, ERR_FAILED, "path '%s' %s", shown, why);
}

/* The inode that a hard link names: it must be there already. */
static int find_target(Merge *merge, const LayerEntry *entry, Inode **out_inode, Error **err)
{
	Walk walk = { .tree = merge->tree };
	const char *base;
	size_t parent = name_parent(entry->target, &base);
	Node *node = NULL;

	if (walk_to_directory(&walk, entry->target, parent, err) < 0)
		return -1;
	if (walk.end == WALK_FOUND)
		node = tree_find(merge->tree, walk.at, base, strlen(base));
	if (!node || inode_is_directory(node->inode)) {
		auto_free char *target = str_make_printable(xstrdup(entry->target));
		auto_free char *path = str_make_printable(xstrdup(entry->path));

		return error_set(err, ERR_FAILED, "path '%s' is a hard link to '%s', %s", path,
				 target, node ? "a directory" : "which does not exist before it");
	}
	*out_inode = node->inode;
	return 0;
}

/* Put `inode` in the place of whatever has that name. */
static int place(Merge *merge, Node *dir, const char *base, Inode *inode, Error **err)
{
	size_t length = strlen(base);
	Node *existing = tree_find(merge->tree, dir, base, length);
	int status;

	if (existing && existing->inode == inode) {
		existing->replaced_in = merge->layer;
		return 0;
	}
	if (existing) {
		/* Hold it: what is removed may be, or contain, its only other name. Then there is room to add. */
		inode->links++;
		tree_remove(merge->tree, existing);
		inode->links--;
	}
	status = tree_add(merge->tree, dir, base, length, inode, &existing, err);
	if (status == 0)
		existing->replaced_in = merge->layer;
	return status;
}

static int apply_file(Merge *merge, LayerEntry *entry, Error **err)
{
	Node *dir = NULL;
	Node *existing;
	const char *base;
	size_t parent = name_parent(entry->path, &base);

	if (!*entry->path && !inode_is_directory(entry->inode))
		return error_set(err, ERR_FAILED, "the root of the image is not a directory");
	if (find_parent(merge, entry->path, parent, &dir, err) < 0)
		return -1;
	existing = *base ? tree_find(merge->tree, dir, base, strlen(base)) : merge->tree->root;
	if (existing && inode_is_directory(existing->inode) && inode_is_directory(entry->inode)) {
		inode_adopt_attributes(existing->inode, entry->inode);
		return 0;
	}
	if (place(merge, dir, base, entry->inode, err) < 0)
		return -1;
	(void)steal(&entry->inode);
	return 0;
}

static int apply_link(Merge *merge, const LayerEntry *entry, Error **err)
{
	Inode *inode = NULL;
	Node *dir = NULL;
	const char *base;
	size_t parent = name_parent(entry->path, &base);

	if (!*entry->path)
		return error_set(err, ERR_FAILED, "the root of the image is not a directory");
	if (!*entry->target)
		return refuse(entry->path, "is a hard link to the root", err);
	if (find_parent(merge, entry->path, parent, &dir, err) < 0 ||
	    find_target(merge, entry, &inode, err) < 0)
		return -1;
	return place(merge, dir, base, inode, err);
}

/* Apply what has come of the layer. */
static int merge_batch(Tree *tree, Layer *layer, Error **err)
{
	__attribute__((cleanup(merge_release)))
	Merge merge = { .tree = tree, .layer = layer->number };

	if (apply_whiteouts(&merge, layer, err) < 0)
		return -1;
	for (size_t i = 0; i < layer->count; i++) {
		LayerEntry *entry = &layer->entries[i];

		if (entry->kind == ENTRY_FILE && apply_file(&merge, entry, err) < 0)
			return -1;
		if (entry->kind == ENTRY_LINK && apply_link(&merge, entry, err) < 0)
			return -1;
		if (is_marker(entry->kind))
			note_marker(layer, entry->kind, steal(&entry->path));
		entry_release(entry);
	}
	layer->count = 0;
	layer->path_bytes = 0;
	return 0;
}

/* Forget the new markers that stand in a directory, as they do in any layer that makes sense. */
static int settle_markers(Layer *layer, Error **err)
{
	Strv *dirs = &layer->marker_dirs;
	size_t kept = layer->settled;

	for (size_t i = layer->settled; i < dirs->count; i++) {
		char *dir = steal(&dirs->items[i]);
		Walk walk = { .tree = layer->direct };

		/* It creates nothing, so it cannot fail; what it finds is not held. */
		(void)walk_to_directory(&walk, dir, strlen(dir), NULL);
		if (walk.end != WALK_FOUND) {
			dirs->items[kept++] = dir;
			continue;
		}
		layer->marker_bytes -= strlen(dir) + 1;
		free(dir);
	}
	if (kept < dirs->count)
		dirs->items[kept] = NULL;
	dirs->count = kept;
	layer->settled = kept;
	if (layer->marker_bytes <= LAYER_MAX_MARKER_BYTES)
		return 0;
	error_set(
		err, ERR_UNSUPPORTED,
		"whiteouts of the lowest layer stand in more than %llu MiB of names of directories "
		"that are not in it",
		LAYER_MAX_MARKER_BYTES >> 20);
	return error_hint(err, "make the image without them: they hide nothing");
}

int layer_go_on(Layer *layer, Error **err)
{
	if (layer->path_bytes > LAYER_MAX_PATH_BYTES) {
		error_set(err, ERR_UNSUPPORTED, "paths of the layer's files exceed %llu MiB",
			  LAYER_MAX_PATH_BYTES >> 20);
		return error_hint(err, "remove files from the image, or split the layer");
	}
	if (!layer->direct ||
	    (layer->count < LAYER_BATCH && layer->marker_dirs.count - layer->settled < LAYER_BATCH))
		return 0;
	return merge_batch(layer->direct, layer, err) < 0 ? -1 : settle_markers(layer, err);
}

/* A marker below what its own layer says is a file makes no sense; below a symlink of its own layer it means nothing. */
static int check_markers(Tree *tree, const Layer *layer, Error **err)
{
	for (size_t i = 0; i < layer->marker_dirs.count; i++) {
		const char *dir = layer->marker_dirs.items[i];
		Walk walk = { .tree = tree, .without = layer->number };

		if (walk_to_directory(&walk, dir, strlen(dir), err) < 0)
			return -1;
		if (walk.end == WALK_REPLACED && !S_ISLNK(walk.at->inode->mode))
			return walk_refuse(&walk, dir, err);
	}
	return 0;
}

int merge_layer(Tree *tree, Layer *layer, Error **err)
{
	if (merge_batch(tree, layer, err) < 0 || check_markers(tree, layer, err) < 0)
		return -1;
	layer_release(layer);
	return 0;
}
