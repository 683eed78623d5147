/*
 * Looking at VMs: readers that take no lock and write nothing, yet tell the truth.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "ops/vm.h"
#include "state/launch.h"
#include "state/records.h"
#include "util/fs.h"
#include "util/mem.h"

void ops_vm_observe(Vm *vm)
{
	if ((vm->state == VM_RUNNING || vm->state == VM_PAUSED) && !proc_is_alive(&vm->process)) {
		vm_set_state(vm, VM_STOPPED);
		vm->process = (ProcId){ 0 };
		vm->keeper = (ProcId){ 0 };
	}
}

/* Its hypervisor stopped it and tries again by itself. */
static void look_for_mark(const Context *ctx, Vm *vm)
{
	if (vm->state != VM_RUNNING || !store_vm_is_stuck(&ctx->store, vm->id))
		return;
	vm_set_state(vm, VM_PAUSED);
	vm->is_stuck = true;
}

/* A VM is made from an image by its id; what that is called now says more than what it was called then. An image that is
 * gone leaves the old name. */
static void name_image(const ImageList *images, Vm *vm)
{
	for (size_t i = 0; vm->image_id && i < images->count; i++)
		if (str_equal(images->items[i].id, vm->image_id))
			str_assign(&vm->image, images->items[i].name);
}

/* A VM that others may come from. */
typedef struct Parent {
	const char *id, *name;
} Parent;

static int compare_parents(const void *one, const void *other)
{
	return strcmp(((const Parent *)one)->id, ((const Parent *)other)->id);
}

/* By their ids; broken ones have none. Owned. */
static Parent *sort_parents(const VmList *vms, size_t *out_count)
{
	Parent *parents = xcalloc(vms->count + 1, sizeof(*parents));
	size_t count = 0;

	for (size_t i = 0; i < vms->count; i++)
		if (vms->items[i].id)
			parents[count++] = (Parent){ vms->items[i].id, vms->items[i].name };
	qsort(parents, count, sizeof(*parents), compare_parents);
	*out_count = count;
	return parents;
}

/* The same of the VMs that they were forked from. */
static void name_parents(const VmList *vms, Vm *children, size_t child_count)
{
	size_t count;
	auto_free Parent *parents = sort_parents(vms, &count);

	for (size_t i = 0; i < child_count; i++) {
		Parent key = { .id = children[i].parent_id };
		const Parent *found = NULL;

		if (key.id)
			found = bsearch(&key, parents, count, sizeof(key), compare_parents);
		if (found)
			str_assign(&children[i].parent_vm, found->name);
	}
}

/* As a rule it still has the name that was recorded, and nobody else's record is read. */
static void look_up_parent(Context *ctx, Vm *vm)
{
	auto_vm_list VmList vms = { 0 };
	auto_vm Vm parent = { 0 };

	if (!vm->parent_id ||
	    (vm->parent_vm && records_read_vm(&ctx->store, vm->parent_vm, &parent, NULL) == 0 &&
	     str_equal(parent.id, vm->parent_id)))
		return;
	if (records_list_vms(&ctx->store, &vms, NULL) == 0)
		name_parents(&vms, vm, 1);
}

int ops_vm_inspect(Context *ctx, const char *name, Vm *out_vm, Error **err)
{
	auto_image_list ImageList images = { 0 };

	if (records_read_vm(&ctx->store, name, out_vm, err) < 0)
		return -1;
	ops_vm_observe(out_vm);
	look_for_mark(ctx, out_vm);
	if (records_list_images(&ctx->store, &images, NULL) == 0)
		name_image(&images, out_vm);
	look_up_parent(ctx, out_vm);
	return 0;
}

int ops_vm_last_exit(Context *ctx, const char *name, ExitReport *out_report, Error **err)
{
	auto_free char *path = store_vm_file(&ctx->store, name, "exit.json");
	auto_error cause = NULL;

	if (exit_report_read(path, out_report, &cause) == 0)
		return 1;
	if (error_code(cause) == ERR_NOT_FOUND)
		return 0;
	error_move(err, &cause);
	return -1;
}

int ops_vm_list(Context *ctx, VmList *out_list, Error **err)
{
	auto_image_list ImageList images = { 0 };

	if (records_list_vms(&ctx->store, out_list, err) < 0 ||
	    records_list_images(&ctx->store, &images, err) < 0)
		return -1;
	for (size_t i = 0; i < out_list->count; i++) {
		ops_vm_observe(&out_list->items[i]);
		look_for_mark(ctx, &out_list->items[i]);
		name_image(&images, &out_list->items[i]);
	}
	name_parents(out_list, out_list->items, out_list->count);
	return 0;
}

int ops_vm_open_log(Context *ctx, const char *name, int *out_fd, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_free char *path = NULL;
	int fd;

	if (records_read_vm(&ctx->store, name, &vm, err) < 0)
		return -1;
	path = store_vm_file(&ctx->store, name, "console.log");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT) {
		error_set(err, ERR_NOT_FOUND, "vm '%s' has no log: it never ran", name);
		return error_hint(err, "start it first: ember vm start %s", name);
	}
	if (fd < 0)
		return error_set_errno(err, errno, "open '%s'", path);
	*out_fd = fd;
	return 0;
}
