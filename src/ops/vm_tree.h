/*
 * Where VMs come from: images, the VMs made from them, and the forks of those. Nothing is written.
 */
#pragma once

#include "model/vm.h"
#include "ops/usage.h"

typedef struct TreeNode {
	size_t depth; /* 0: an image */
	bool is_last; /* of those that have the same origin */
	bool is_gone; /* known only by what came from it */
	char *name;   /* NULL: the image of a record that cannot be read */
	char *id;     /* NULL: not known */
	VmState state;
	UsageFigures figures;
} TreeNode;

/* Each node is followed by what came from it, by name. */
typedef struct VmTree {
	TreeNode *nodes;
	size_t count;
} VmTree;

void vm_tree_release(VmTree *tree);
#define auto_vm_tree CLEANUP(vm_tree_release)

int ops_vm_tree(Context *ctx, VmTree *out_tree, Error **err);
