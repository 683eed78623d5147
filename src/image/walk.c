#include "image/walk.h"

#include <string.h>

#include "util/mem.h"
#include "util/str.h"

/* What is left to follow of the path, and above it of each symlink that was met in the one below. */
typedef struct Frames {
	struct {
		const char *at;
		const char *end;
	} items[WALK_MAX_SYMLINKS + 1];
	unsigned count;
	unsigned symlinks;
} Frames;

/* The next component that is not empty, or false at the end of all frames. */
static bool next_component(Frames *frames, const char **out_name, size_t *out_length)
{
	while (frames->count) {
		const char *at = frames->items[frames->count - 1].at;
		const char *end = frames->items[frames->count - 1].end;

		while (at < end && *at == '/')
			at++;
		if (at < end) {
			const char *slash = memchr(at, '/', (size_t)(end - at));

			*out_name = at;
			*out_length = (size_t)((slash ? slash : end) - at);
			frames->items[frames->count - 1].at = at + *out_length;
			return true;
		}
		frames->count--;
	}
	return false;
}

/* Continue with a symlink's target; false when that is one symlink too many. */
static bool enter_symlink(Walk *walk, Frames *frames, const Inode *symlink)
{
	if (++frames->symlinks > WALK_MAX_SYMLINKS)
		return false;
	frames->items[frames->count].at = symlink->target;
	frames->items[frames->count].end = symlink->target + symlink->size;
	frames->count++;
	if (symlink->target[0] == '/')
		walk->at = walk->tree->root;
	return true;
}

static int create_directory(Walk *walk, const char *name, size_t length, Error **err)
{
	auto_inode Inode *inode = inode_new(S_IFDIR | 0755);

	inode->mtime = walk->tree->created;
	if (tree_add(walk->tree, walk->at, name, length, inode, &walk->at, err) < 0)
		return -1;
	(void)steal(&inode);
	return 0;
}

/* One component that is a name. Returns 1 to go on, 0 when the walk has ended, -1 on error. */
static int step(Walk *walk, Frames *frames, const char *name, size_t length, Node **last_symlink,
		Error **err)
{
	Node *child = tree_find(walk->tree, walk->at, name, length);

	if (!child && frames->count > 1) {
		walk->end = WALK_DANGLING;
		walk->at = *last_symlink;
		return 0;
	}
	if (!child && !walk->create) {
		walk->end = WALK_MISSING;
		return 0;
	}
	if (!child)
		return create_directory(walk, name, length, err) < 0 ? -1 : 1;
	if (inode_is_directory(child->inode)) {
		walk->at = child;
		return 1;
	}
	if (walk->without && child->replaced_in == walk->without)
		walk->end = WALK_REPLACED;
	else if (!S_ISLNK(child->inode->mode))
		walk->end = next_component(frames, &name, &length) ? WALK_BLOCKED : WALK_FILE;
	else if (!enter_symlink(walk, frames, child->inode))
		walk->end = WALK_LOOP;
	else {
		*last_symlink = child;
		return 1;
	}
	walk->at = child;
	return 0;
}

int walk_to_directory(Walk *walk, const char *path, size_t length, Error **err)
{
	Frames frames = { .items[0] = { path, path + length }, .count = 1 };
	Node *last_symlink = NULL;
	const char *name;
	size_t part;

	walk->at = walk->tree->root;
	walk->end = WALK_FOUND;
	while (next_component(&frames, &name, &part)) {
		if (part == 1 && name[0] == '.')
			continue;
		if (part == 2 && name[0] == '.' && name[1] == '.') {
			walk->at = walk->at->parent ? walk->at->parent : walk->at;
			continue;
		}
		int more = step(walk, &frames, name, part, &last_symlink, err);

		if (more <= 0)
			return more;
	}
	return 0;
}

int walk_refuse(const Walk *walk, const char *path, Error **err)
{
	auto_free char *shown = str_make_printable(xstrdup(path));
	auto_free char *at = tree_path(walk->at);

	switch (walk->end) {
	case WALK_DANGLING:
		return error_set(err, ERR_FAILED, "path '%s' goes through dangling symlink '%s'",
				 shown, at);
	case WALK_LOOP:
		return error_set(err, ERR_FAILED,
				 "path '%s' goes through more than %u symlinks, the last at '%s'",
				 shown, WALK_MAX_SYMLINKS, at);
	case WALK_FILE:
	case WALK_BLOCKED:
	case WALK_REPLACED:
		return error_set(err, ERR_FAILED, "path '%s' goes through '%s', not a directory",
				 shown, at);
	case WALK_MISSING:
	case WALK_FOUND:
		break;
	}
	return error_set(err, ERR_FAILED, "path '%s' does not exist in the image", shown);
}

Node *walk_to_file(Tree *tree, const char *path)
{
	Walk walk = { .tree = tree };

	if (walk_to_directory(&walk, path, strlen(path), NULL) < 0)
		return NULL;
	return walk.end == WALK_FOUND || walk.end == WALK_FILE ? walk.at : NULL;
}
