#include "ops/vm_tree.h"

#include <string.h>

#include "ops/vm.h"
#include "state/records.h"
#include "util/mem.h"

void vm_tree_release(VmTree *tree)
{
	for (size_t i = 0; i < tree->count; i++) {
		free(tree->nodes[i].name);
		free(tree->nodes[i].id);
	}
	free(tree->nodes);
	*tree = (VmTree){ 0 };
}

#define NOBODY SIZE_MAX

/* A node before it has its place. Strings are borrowed from the lists. */
typedef struct Sprout {
	const char *name, *id;
	const Vm *vm; /* NULL: an image, or gone */
	bool is_image, is_gone;
	size_t origin;
	size_t first, next; /* of those that came from it, and from the same origin */
} Sprout;

typedef struct Nursery {
	Sprout *items;
	size_t count;
	const UsageReport *usage;
	VmTree *tree;
} Nursery;

static size_t plant(Nursery *nursery, Sprout sprout)
{
	nursery->items = xreallocarray(nursery->items, nursery->count + 1, sizeof(*nursery->items));
	sprout.origin = sprout.first = sprout.next = NOBODY;
	nursery->items[nursery->count] = sprout;
	return nursery->count++;
}

/* By its id; records of an older ember have only the name. */
static size_t find(const Nursery *nursery, bool is_image, const char *id, const char *name)
{
	for (size_t i = 0; i < nursery->count; i++) {
		const Sprout *sprout = &nursery->items[i];

		if (sprout->is_image == is_image &&
		    (id ? str_equal(sprout->id, id) : str_equal(sprout->name, name)))
			return i;
	}
	return NOBODY;
}

/* What is gone stands there as long as something came from it. */
static size_t find_or_miss(Nursery *nursery, bool is_image, const char *id, const char *name)
{
	size_t found = find(nursery, is_image, id, name);

	if (found != NOBODY)
		return found;
	return plant(nursery,
		     (Sprout){ .name = name, .id = id, .is_image = is_image, .is_gone = true });
}

static void settle_origin(Nursery *nursery, size_t index)
{
	const Vm *vm = nursery->items[index].vm;
	size_t origin, image;

	if (vm->parent_vm) {
		origin = find_or_miss(nursery, false, vm->parent_id, vm->parent_vm);
		nursery->items[index].origin = origin;
		/* Of a VM that is gone only its forks know where it came from. */
		if (nursery->items[origin].vm || nursery->items[origin].origin != NOBODY)
			return;
		index = origin;
	}
	image = find_or_miss(nursery, true, vm->image_id, vm->image);
	nursery->items[index].origin = image;
}

/* Damaged records can make VMs each other's origin: then their image is. */
static void open_ring(Nursery *nursery, size_t index)
{
	const Vm *vm = nursery->items[index].vm;
	size_t steps = 0, image;

	for (size_t i = index; i != NOBODY; i = nursery->items[i].origin)
		if (++steps > nursery->count) {
			image = find_or_miss(nursery, true, vm->image_id, vm->image);
			nursery->items[index].origin = image;
			return;
		}
}

typedef struct Rank {
	const char *name;
	size_t index;
} Rank;

static int compare_ranks(const void *one, const void *other)
{
	const Rank *a = one, *b = other;

	return strcmp(a->name, b->name);
}

/* Each is put before those with later names. */
static void link_by_name(Nursery *nursery)
{
	auto_free Rank *ranks = xcalloc(nursery->count + 1, sizeof(*ranks));

	for (size_t i = 0; i < nursery->count; i++) {
		const char *name = nursery->items[i].name;

		ranks[i] = (Rank){ .name = name ? name : "", .index = i };
	}
	qsort(ranks, nursery->count, sizeof(*ranks), compare_ranks);
	for (size_t i = nursery->count; i-- > 0;) {
		Sprout *sprout = &nursery->items[ranks[i].index];
		Sprout *origin;

		if (sprout->origin == NOBODY)
			continue;
		origin = &nursery->items[sprout->origin];
		sprout->next = origin->first;
		origin->first = ranks[i].index;
	}
}

static void place(Nursery *nursery, size_t index, size_t depth)
{
	Sprout *sprout = &nursery->items[index];
	VmTree *tree = nursery->tree;
	TreeNode *node;

	tree->nodes = xreallocarray(tree->nodes, tree->count + 1, sizeof(*tree->nodes));
	node = &tree->nodes[tree->count++];
	*node = (TreeNode){ .depth = depth,
			    .is_last = sprout->next == NOBODY,
			    .is_gone = sprout->is_gone,
			    .name = xstrdup_null(sprout->name),
			    .id = xstrdup_null(sprout->id),
			    .state = sprout->vm ? sprout->vm->state : VM_BROKEN };
	node->figures = usage_find(nursery->usage, sprout->is_image ? USAGE_IMAGE : USAGE_VM,
				   sprout->is_gone ? NULL : sprout->name);
	for (size_t i = sprout->first; i != NOBODY; i = nursery->items[i].next)
		place(nursery, i, depth + 1);
}

static void grow(Nursery *nursery, const VmList *vms, const ImageList *images)
{
	size_t first_vm;

	for (size_t i = 0; i < images->count; i++)
		plant(nursery, (Sprout){ .name = images->items[i].name,
					 .id = images->items[i].id,
					 .is_image = true });
	first_vm = nursery->count;
	for (size_t i = 0; i < vms->count; i++)
		plant(nursery, (Sprout){ .name = vms->items[i].name,
					 .id = vms->items[i].id,
					 .vm = &vms->items[i] });
	for (size_t i = 0; i < vms->count; i++)
		settle_origin(nursery, first_vm + i);
	for (size_t i = 0; i < vms->count; i++)
		open_ring(nursery, first_vm + i);
	link_by_name(nursery);
	for (size_t i = 0; i < nursery->count; i++)
		if (nursery->items[i].is_image)
			place(nursery, i, 0);
}

int ops_vm_tree(Context *ctx, VmTree *out_tree, Error **err)
{
	auto_vm_list VmList vms = { 0 };
	auto_image_list ImageList images = { 0 };
	auto_usage_report UsageReport usage = { 0 };
	Nursery nursery = { .usage = &usage, .tree = out_tree };

	if (ops_vm_list(ctx, &vms, err) < 0 || records_list_images(&ctx->store, &images, err) < 0)
		return -1;
	ops_usage_peek(ctx, &usage);
	grow(&nursery, &vms, &images);
	free(nursery.items);
	return 0;
}
