/*
 * Names, walks and layers, without a tar or a disk: what tests/image/rules.py shows in a finished image is shown here
 * where it is decided, and the limits that would take a large image to reach.
 */
#include "image/merge.h"
#include "image/name.h"
#include "image/tree.h"
#include "image/walk.h"
#include "test.h"
#include "util/mem.h"
#include "util/str.h"

static Error *err;

static char *clean(const char *raw)
{
	char *path = NULL;

	CHECK_OK(name_clean(raw, strlen(raw), &path, &err), err);
	return path;
}

static void test_clean(void)
{
	static const char *const cases[][2] = {
		{ "a", "a" }, { "./a/b/", "a/b" }, { "/a//b/./c", "a/b/c" }, { "./", "" },
		{ "/", "" },  { "...", "..." },	   { "a/.b..", "a/.b.." },
	};
	static const char *const bad[] = { "", "..", "a/..", "../a", "a/../b", "/.." };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *path = clean(cases[i][0]);

		CHECK_STR(path, cases[i][1]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char *path = NULL;

		CHECK_FAILS(name_clean(bad[i], strlen(bad[i]), &path, &err), err, ERR_FAILED);
		CHECK(!path);
	}
	char *path = NULL;
	CHECK_FAILS(name_clean("a\0b", 3, &path, &err), err, ERR_FAILED);
}

static void test_parse(void)
{
	static const struct {
		const char *raw;
		NameKind kind;
		const char *path;
	} cases[] = {
		{ "a/b", NAME_PLAIN, "a/b" },
		{ "a/.wh.b", NAME_WHITEOUT, "a/b" },
		{ ".wh.b", NAME_WHITEOUT, "b" },
		{ ".wh..b", NAME_WHITEOUT, ".b" },
		{ "a/.wh..wh..opq", NAME_OPAQUE, "a" },
		{ ".wh..wh..opq", NAME_OPAQUE, "" },
		{ "a/.wh..wh.plnk/x", NAME_IGNORED, NULL },
		{ ".wh..wh.", NAME_IGNORED, NULL },
		{ ".wh..wh..opqx", NAME_IGNORED, NULL },
		{ ".whx", NAME_PLAIN, ".whx" },
	};
	static const char *const bad[] = { ".wh.", ".wh..", ".wh...", ".wh.a/b", ".wh..wh..opq/b" };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *path = NULL;
		NameKind kind = NAME_PLAIN;

		CHECK_OK(name_parse(cases[i].raw, strlen(cases[i].raw), false, &kind, &path, &err),
			 err);
		CHECK_INT(kind, cases[i].kind);
		if (cases[i].path)
			CHECK_STR(path, cases[i].path);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char *path = NULL;
		NameKind kind;

		CHECK_FAILS(name_parse(bad[i], strlen(bad[i]), false, &kind, &path, &err), err,
			    ERR_FAILED);
	}
}

/* A layer in words: "d path", "f path", "l path target", "h path target", "w path", "o path". */
static int apply(Tree *tree, uint16_t number, const char *const *words)
{
	auto_layer Layer layer = { .number = number };

	for (; *words; words++) {
		auto_free char *line = xstrdup(*words);
		char *path = strtok(line + 1, " ");
		char *target = strtok(NULL, " ");
		Inode *inode = NULL;

		path = path ? path : line + strlen(*words);
		switch (line[0]) {
		case 'd':
			inode = inode_new(S_IFDIR | 0711);
			break;
		case 'f':
			inode = inode_new(S_IFREG | 0644);
			break;
		case 'l':
			inode = inode_new(S_IFLNK | 0777);
			inode->target = xstrdup(target);
			inode->size = strlen(target);
			break;
		default:
			break;
		}
		layer_add(&layer,
			  line[0] == 'w'   ? ENTRY_WHITEOUT
			  : line[0] == 'o' ? ENTRY_OPAQUE
			  : line[0] == 'h' ? ENTRY_LINK
					   : ENTRY_FILE,
			  xstrdup(path), line[0] == 'h' ? xstrdup(target) : NULL, inode);
	}
	return merge_layer(tree, &layer, &err);
}

#define APPLY(tree, number, ...) apply((tree), (number), (const char *const[]){ __VA_ARGS__, NULL })

/* All paths, in the order of the tree. */
static char *paths(const Tree *tree)
{
	Strbuf list = { 0 };

	for (const Node *node = tree_next(tree->root); node; node = tree_next(node)) {
		auto_free char *path = tree_path(node);

		strbuf_addf(&list, "%s%s", list.len ? " " : "", path);
	}
	return strbuf_take(&list);
}

static void check_paths(const Tree *tree, const char *want)
{
	auto_free char *got = paths(tree);

	CHECK_STR(got, want);
}

static void test_layers(void)
{
	auto_tree Tree tree = { 0 };

	tree_init(&tree, 0);
	CHECK_OK(APPLY(&tree, 1, "d a", "f a/b", "h c a/b", "l s a"), err);
	check_paths(&tree, "/a /a/b /c /s");
	CHECK_INT(tree_find(&tree, tree.root, "c", 1)->inode->links, 2);
	CHECK_OK(APPLY(&tree, 2, "f s/d", "w a/b"), err);
	check_paths(&tree, "/a /a/d /c /s");
	CHECK_INT(tree_find(&tree, tree.root, "c", 1)->inode->links, 1);
	CHECK_OK(APPLY(&tree, 3, "o a", "f a/e", "f s"), err);
	check_paths(&tree, "/a /a/e /c /s");
	CHECK_INT(tree.node_count, 4);
}

/* Whiteouts of a directory, of what is in it, and of everything in it, in any order. */
static void test_nested_whiteouts(void)
{
	static const char *const orders[][4] = {
		{ "w a", "w a/b/c", "o a/b", NULL },
		{ "w a/b/c", "o a/b", "w a", NULL },
		{ "o a/b", "w a", "w a", NULL },
		{ "o ", "w a", "w a/b", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		auto_tree Tree tree = { 0 };

		tree_init(&tree, 0);
		CHECK_OK(APPLY(&tree, 1, "d a", "d a/b", "f a/b/c", "f a/b/d"), err);
		CHECK_OK(apply(&tree, 2, orders[i]), err);
		CHECK_INT(tree.node_count, 0);
		CHECK_INT(tree.name_bytes, 0);
	}
}

static void test_refused(void)
{
	static const char *const layers[][3] = {
		{ "f f", "f f/x", NULL },   { "l l nowhere", "f l/x", NULL },
		{ "l l l", "f l/x", NULL }, { "h a b", NULL, NULL },
		{ "d d", "h a d", NULL },   { "l l f", "f l/x", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(layers); i++) {
		auto_tree Tree tree = { 0 };

		tree_init(&tree, 0);
		CHECK_FAILS(apply(&tree, 1, layers[i]), err, ERR_FAILED);
	}
}

static void test_walk(void)
{
	auto_tree Tree tree = { 0 };
	Walk walk = { .tree = &tree };

	tree_init(&tree, 0);
	CHECK_OK(APPLY(&tree, 1, "d a", "d a/b", "l a/up ../..", "l abs /a/b", "f a/f"), err);
	CHECK_OK(walk_to_directory(&walk, "a/up/up", 7, &err), err);
	CHECK_INT(walk.end, WALK_MISSING);
	CHECK_OK(walk_to_directory(&walk, "a/up/abs", 8, &err), err);
	CHECK_INT(walk.end, WALK_FOUND);
	CHECK_STR(walk.at->name, "b");
	CHECK_OK(walk_to_directory(&walk, "a/f", 3, &err), err);
	CHECK_INT(walk.end, WALK_FILE);
	CHECK_OK(walk_to_directory(&walk, "a/f/x", 5, &err), err);
	CHECK_INT(walk.end, WALK_BLOCKED);
	CHECK(walk_to_file(&tree, "a/f") && !walk_to_file(&tree, "a/g"));
	CHECK(walk_to_file(&tree, "") == tree.root);
}

static void test_depth(void)
{
	auto_tree Tree tree = { 0 };
	Node *node;

	tree_init(&tree, 0);
	node = tree.root;
	for (unsigned i = 0; i < TREE_MAX_DEPTH; i++)
		CHECK_OK(tree_add(&tree, node, "d", 1, inode_new(S_IFDIR | 0755), &node, &err),
			 err);
	auto_inode Inode *inode = inode_new(S_IFDIR | 0755);

	CHECK_FAILS(tree_add(&tree, node, "d", 1, inode, &node, &err), err, ERR_UNSUPPORTED);
	CHECK_INT(inode->links, 0);
	auto_free char *path = tree_path(node);

	CHECK_INT(strlen(path), 2 * TREE_MAX_DEPTH);
}

static void test_link_limit(void)
{
	auto_tree Tree tree = { 0 };
	Inode *inode = inode_new(S_IFREG | 0644);
	Node *node;
	char name[16];

	tree_init(&tree, 0);
	for (unsigned i = 0; i < TREE_MAX_LINKS; i++) {
		int length = snprintf(name, sizeof(name), "%u", i);

		CHECK_OK(tree_add(&tree, tree.root, name, (size_t)length, inode, &node, &err), err);
	}
	CHECK_FAILS(tree_add(&tree, tree.root, "more", 4, inode, &node, &err), err,
		    ERR_UNSUPPORTED);
	CHECK(tree_find(&tree, tree.root, "64999", 5));
	CHECK(!tree_find(&tree, tree.root, "65000", 5));
}

TEST_MAIN({ "names are cleaned", test_clean }, { "markers are decoded", test_parse },
	  { "layers are applied", test_layers },
	  { "nested whiteouts in any order", test_nested_whiteouts },
	  { "impossible parents and links are refused", test_refused },
	  { "walks stay inside the root", test_walk }, { "depth has a limit", test_depth },
	  { "hard links have a limit", test_link_limit });
