/*
 * Layers applied to a tree. The input is a script: a byte that says what (kind of entry and type of
 * file, or "next layer"), then a name and, for links, a target, each ended by a newline. Whatever the
 * layers say, every path of the tree stays inside it and every directory is reached from the root.
 */
#include "fuzz.h"
#include "image/merge.h"
#include "image/name.h"
#include "util/mem.h"

enum { KINDS = 7, NEXT_LAYER = KINDS - 1 };

static size_t take_line(const uint8_t *data, size_t size, const char **out_line)
{
	size_t length = 0;

	while (length < size && data[length] != '\n')
		length++;
	*out_line = (const char *)data;
	return length;
}

static Inode *make_inode(unsigned type, const char *target, size_t length)
{
	static const uint32_t modes[] = { S_IFREG | 0644, S_IFDIR | 0755, S_IFLNK | 0777,
					  S_IFIFO | 0600 };
	Inode *inode = inode_new(modes[type % 4]);

	if (S_ISLNK(inode->mode)) {
		inode->target = xstrndup(target, length);
		inode->size = strlen(inode->target);
	}
	return inode;
}

static void add_entry(Layer *layer, unsigned what, const char *name, size_t name_length,
		      const char *target, size_t target_length)
{
	auto_free char *path = NULL;
	auto_free char *link = NULL;
	auto_error err = NULL;
	NameKind kind;

	if (name_parse(name, name_length, what == 1, &kind, &path, &err) < 0) {
		CHECK(err);
		return;
	}
	CHECK(kind == NAME_IGNORED || !strstr(path, "//"));
	switch (kind) {
	case NAME_WHITEOUT:
		layer_add(layer, ENTRY_WHITEOUT, steal(&path), NULL, NULL);
		break;
	case NAME_OPAQUE:
		layer_add(layer, ENTRY_OPAQUE, steal(&path), NULL, NULL);
		break;
	case NAME_PLAIN:
		if (what < 4) {
			layer_add(layer, ENTRY_FILE, steal(&path), NULL,
				  make_inode(what, target, target_length));
		} else if (name_clean(target, target_length, &link, &err) == 0) {
			layer_add(layer, ENTRY_LINK, steal(&path), steal(&link), NULL);
		}
		break;
	case NAME_IGNORED:
	default:
		break;
	}
}

static void check_tree(const Tree *tree)
{
	size_t count = 0;

	for (const Node *node = tree->root; node; node = tree_next(node)) {
		CHECK(node == tree->root || S_ISDIR(node->parent->inode->mode));
		CHECK(!node->first_child || S_ISDIR(node->inode->mode));
		CHECK(node->depth <= TREE_MAX_DEPTH);
		CHECK(!strchr(node->name, '/') && strcmp(node->name, "..") != 0);
		count++;
	}
	CHECK(count == tree->node_count + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_tree Tree tree = { 0 };
	auto_layer Layer layer = { .number = 1 };
	auto_error err = NULL;

	tree_init(&tree, 0);
	for (size_t at = 0; at < size;) {
		unsigned what = data[at++] % KINDS;
		const char *name, *target;
		size_t name_length = take_line(data + at, size - at, &name), target_length;

		at += name_length + (at + name_length < size);
		if (what == NEXT_LAYER) {
			uint16_t number = layer.number;

			if (merge_layer(&tree, &layer, &err) < 0) {
				CHECK(err);
				return 0;
			}
			check_tree(&tree);
			layer.number = (uint16_t)(number + 1);
			continue;
		}
		target_length = take_line(data + at, size - at, &target);
		if (what == 2 || what >= 4)
			at += target_length + (at + target_length < size);
		add_entry(&layer, what, name, name_length, target, target_length);
	}
	if (merge_layer(&tree, &layer, &err) < 0)
		CHECK(err);
	else
		check_tree(&tree);
	return 0;
}
