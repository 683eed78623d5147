/*
 * Where VMs come from, drawn as a tree.
 */
#include <langinfo.h>
#include <locale.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/figures.h"
#include "ops/vm_tree.h"
#include "util/json.h"
#include "util/mem.h"

/* What stands before a name, a step of depth each. */
typedef struct Strokes {
	const char *branch, *last, *trunk, *blank;
} Strokes;

static const Strokes lines = { "├── ", "└── ", "│   ", "    " };
static const Strokes ascii = { "|-- ", "`-- ", "|   ", "    " };

static const Strokes *strokes_of_locale(void)
{
	locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
	bool is_utf8;

	if (!locale)
		return &ascii;
	is_utf8 = !strcmp(nl_langinfo_l(CODESET, locale), "UTF-8");
	freelocale(locale);
	return is_utf8 ? &lines : &ascii;
}

static const char *shown_name(const TreeNode *node)
{
	return node->name ? node->name : "(unknown)";
}

static void add_node(Table *table, const TreeNode *node, const char *before, const Strokes *strokes)
{
	const char *own = node->depth == 0 ? "" : node->is_last ? strokes->last : strokes->branch;
	auto_free char *name = xasprintf("%s%s%s", before, own, shown_name(node));

	table_add_text(table, name);
	if (node->is_gone)
		table_add_mood(table, "gone", MOOD_WARN);
	else if (node->depth == 0)
		table_add_text(table, "image");
	else
		table_add_mood(table, vm_state_name(node->state), vm_state_mood(node->state));
	figure_add(table, node->figures.exclusive);
	figure_add(table, usage_shared(&node->figures));
}

/* The strokes of the nodes above are kept from line to line; each node leaves its own for those below. */
static void print_tree(App *app, const VmTree *tree)
{
	static const Column columns[] = { { "NAME", "name" },
					  { "STATUS", "status" },
					  { "EXCLUSIVE", "exclusive" },
					  { "SHARED", "shared" },
					  { 0 } };
	const Strokes *strokes = strokes_of_locale();
	auto_table Table table = { 0 };
	auto_strv Strv above = { 0 };

	table_init(&table, columns);
	for (size_t i = 0; i < tree->count; i++) {
		const TreeNode *node = &tree->nodes[i];
		auto_free char *before = NULL;

		while (above.count > 0 && above.count >= node->depth)
			free(above.items[--above.count]);
		before = strv_join(&above, "");
		add_node(&table, node, before, strokes);
		if (node->depth > 0)
			strv_push(&above, node->is_last ? strokes->blank : strokes->trunk);
	}
	output_table(&app->out, &table, NULL);
}

static json_t *node_json(const TreeNode *node)
{
	bool is_image = node->depth == 0;
	json_t *doc = json_object();

	json_put_take(doc, is_image ? "image" : "name", output_json_string(node->name));
	json_put_take(doc, "id", output_json_string(node->id));
	json_put_bool(doc, "gone", node->is_gone);
	if (!is_image)
		json_put_string(doc, "status", node->is_gone ? NULL : vm_state_name(node->state));
	json_put_take(doc, "exclusive", figure_json(node->figures.exclusive));
	json_put_take(doc, "shared", figure_json(usage_shared(&node->figures)));
	return doc;
}

/* What came from a node is in a list of it: "vms" of an image, "forks" of a VM. */
static json_t *tree_json(const VmTree *tree)
{
	json_t *images = json_array();
	auto_free json_t **lists = xcalloc(tree->count + 1, sizeof(json_t *)); /* by depth */

	lists[0] = images;
	for (size_t i = 0; i < tree->count; i++) {
		const TreeNode *node = &tree->nodes[i];
		json_t *doc = node_json(node);
		json_t *came = json_array();

		json_put_take(doc, node->depth == 0 ? "vms" : "forks", came);
		(void)json_array_append_new(lists[node->depth], doc);
		lists[node->depth + 1] = came;
	}
	return images;
}

int cmd_vm_tree(App *app, const Args *args UNUSED, Error **err)
{
	auto_vm_tree VmTree tree = { 0 };

	if (ops_vm_tree(&app->ctx, &tree, err) < 0)
		return -1;
	if (app->out.is_json)
		output_json_take(&app->out, tree_json(&tree));
	else if (tree.count == 0)
		output_message(&app->out,
			       "No images and no VMs found. Begin with: ember image build debian");
	else
		print_tree(app, &tree);
	return 0;
}
