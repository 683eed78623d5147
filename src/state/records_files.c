/*
 * Records as files: reading one, replacing one, listing all of them.
 */
#include <dirent.h>
#include <string.h>

#include "model/uuid.h"
#include "state/launch.h"
#include "state/records.h"
#include "state/snapshots.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"

static int read_document(const char *dir, const char *file, json_t **out_doc, Error **err)
{
	auto_free char *path = path_join(dir, file);

	return json_read_file(path, out_doc, err);
}

static int write_document(const char *dir, const char *file, const json_t *doc, bool durable,
			  Error **err)
{
	auto_free char *path = path_join(dir, file);

	return json_write_file(path, doc, durable, err);
}

/* "no vm 'wbe'", with the nearest name that exists. */
static int not_found(const Store *store, const char *what, const char *sub_dir, const char *name,
		     const char *hint, Error **err)
{
	auto_free char *dir = store_path(store, sub_dir);
	auto_strv Strv names = { 0 };
	const char *nearest = NULL;

	if (fs_list(dir, &names, NULL) == 0 && names.count)
		nearest = str_nearest(name, (const char *const *)names.items, names.count);
	error_set(err, ERR_NOT_FOUND, "%s '%s' does not exist", what, name);
	if (nearest)
		return error_hint(err, "did you mean '%s'? %s", nearest, hint);
	return error_hint(err, "%s", hint);
}

/* The name that a directory of vms/ (NAME), tmp/ (KIND:NAME) or trash/ (KIND:NAME:ID8) stands for; owned. */
static char *name_of_dir(const char *dir)
{
	const char *base = path_basename(dir);
	const char *colon = strchr(base, ':');

	return colon ? xstrndup(colon + 1, strcspn(colon + 1, ":")) : xstrdup(base);
}

/* A record says whose volume and process are meant, so a copy of it under another name must not speak for them. */
static int check_name(const char *dir, const char *name, Error **err)
{
	auto_free char *expected = name_of_dir(dir);

	if (str_equal(name, expected))
		return 0;
	return error_set(err, ERR_FAILED, "the record is that of '%s'", name);
}

/* The record of what is renamed has both names, and the directory tells which one holds. *former_name is used up. */
static int settle_name(const char *dir, char **name, char **former_name, Error **err)
{
	if (*former_name && check_name(dir, *former_name, NULL) == 0)
		str_assign(name, *former_name);
	str_assign(former_name, NULL);
	return check_name(dir, *name, err);
}

int records_read_vm_at(const char *dir, Vm *out_vm, Error **err)
{
	auto_vm Vm vm = { 0 };
	json_auto_t *doc = NULL;

	if (read_document(dir, "vm.json", &doc, err) < 0)
		return -1;
	if (vm_from_json(doc, &vm, err) < 0 || settle_name(dir, &vm.name, &vm.former_name, err) < 0)
		return error_wrap(err, "read '%s/vm.json'", dir);
	*out_vm = vm;
	vm = (Vm){ 0 };
	return 0;
}

int records_read_vm(const Store *store, const char *name, Vm *out_vm, Error **err)
{
	auto_free char *dir = NULL;
	auto_error cause = NULL;

	if (name_check("vm", name, err) < 0)
		return -1;
	dir = store_vm_dir(store, name);
	if (!fs_exists(dir))
		return not_found(store, "vm", "vms", name, "list them: ember vm list", err);
	if (records_read_vm_at(dir, out_vm, &cause) == 0)
		return 0;
	error_move(err, &cause);
	error_recode(err, ERR_FAILED);
	error_wrap(err, "vm '%s' is broken", name);
	return error_hint(err,
			  "restore its vm.json, or remove what is left: ember vm delete --force %s",
			  name);
}

int records_write_vm_at(const char *dir, const Vm *vm, bool durable, Error **err)
{
	json_auto_t *doc = vm_to_json(vm);

	return write_document(dir, "vm.json", doc, durable, err);
}

int records_write_new_vm_at(const char *dir, const Vm *vm, Error **err)
{
	auto_free char *path = path_join(dir, "vm.json");
	json_auto_t *doc = vm_to_json(vm);

	return json_write_new_file(path, doc, err);
}

int records_write_vm(const Store *store, const Vm *vm, Error **err)
{
	auto_free char *dir = store_vm_dir(store, vm->name);

	if (records_write_vm_at(dir, vm, true, err) < 0)
		return error_wrap(err, "record vm '%s'", vm->name);
	return 0;
}

int records_list_vms(const Store *store, VmList *out_list, Error **err)
{
	auto_free char *dir = store_path(store, "vms");
	auto_strv Strv names = { 0 };

	if (fs_list(dir, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++) {
		auto_free char *vm_dir = path_join(dir, names.items[i]);
		auto_vm Vm vm = { 0 };
		auto_error cause = NULL;

		if (name_check("vm", names.items[i], NULL) < 0)
			continue; /* not ours */
		if (records_read_vm_at(vm_dir, &vm, &cause) < 0) {
			/* Deleted between the listing and now: it is simply not there any more. */
			if (error_code(cause) == ERR_NOT_FOUND && !fs_exists(vm_dir))
				continue;
			vm_release(&vm);
			vm.name = xstrdup(names.items[i]);
			vm.state = VM_BROKEN;
		}
		vm_list_push_take(out_list, &vm);
	}
	return 0;
}

int records_read_image_at(const char *dir, Image *out_image, Error **err)
{
	auto_image Image image = { 0 };
	json_auto_t *doc = NULL;

	if (read_document(dir, "image.json", &doc, err) < 0)
		return -1;
	if (image_from_json(doc, &image, err) < 0 ||
	    settle_name(dir, &image.name, &image.former_name, err) < 0)
		return error_wrap(err, "read '%s/image.json'", dir);
	*out_image = image;
	image = (Image){ 0 };
	return 0;
}

int records_read_image(const Store *store, const char *name, Image *out_image, Error **err)
{
	auto_free char *dir = NULL;

	if (name_check("image", name, err) < 0)
		return -1;
	dir = store_image_dir(store, name);
	if (!fs_exists(dir))
		return not_found(store, "image", "images", name, "list them: ember image list",
				 err);
	if (records_read_image_at(dir, out_image, err) < 0) {
		error_wrap(err, "image '%s' is broken", name);
		return error_hint(err, "remove it and make it again: ember image delete %s", name);
	}
	return 0;
}

int records_write_image_at(const char *dir, const Image *image, bool durable, Error **err)
{
	json_auto_t *doc = image_to_json(image);

	return write_document(dir, "image.json", doc, durable, err);
}

int records_list_images(const Store *store, ImageList *out_list, Error **err)
{
	auto_free char *dir = store_path(store, "images");
	auto_strv Strv names = { 0 };

	if (fs_list(dir, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++) {
		auto_free char *image_dir = path_join(dir, names.items[i]);
		auto_image Image image = { 0 };

		if (name_check("image", names.items[i], NULL) < 0)
			continue;
		if (records_read_image_at(image_dir, &image, NULL) < 0) {
			image_release(&image);
			image.name = xstrdup(names.items[i]);
		}
		image_list_push_take(out_list, &image);
	}
	return 0;
}

/* Of a VM whose record is lost the launch plan still tells it. */
static char *read_id_of_plan(const char *dir)
{
	auto_free char *path = path_join(dir, "launch.json");
	auto_launch_plan LaunchPlan plan = { 0 };

	if (launch_plan_read(path, &plan, NULL) < 0 || check_name(dir, plan.vm_name, NULL) < 0)
		return NULL;
	return uuid_is_valid(plan.vm_id) ? xstrdup(plan.vm_id) : NULL;
}

void records_read_volumes_at(const char *dir, Strv *out_volumes)
{
	auto_vm Vm vm = { 0 };
	auto_image Image image = { 0 };
	auto_free char *vm_id = NULL;

	if (records_read_vm_at(dir, &vm, NULL) == 0) {
		strv_push(out_volumes, vm.volume);
		vm_id = steal(&vm.id);
	} else if (records_read_image_at(dir, &image, NULL) == 0) {
		strv_push(out_volumes, image.id);
	} else {
		vm_id = read_id_of_plan(dir);
		if (vm_id)
			strv_push(out_volumes, vm_id);
	}
	snapshots_read_volumes_at(dir, vm_id, out_volumes);
}

char *records_read_id_at(const char *dir)
{
	auto_vm Vm vm = { 0 };
	auto_image Image image = { 0 };

	if (records_read_vm_at(dir, &vm, NULL) == 0)
		return steal(&vm.id);
	if (records_read_image_at(dir, &image, NULL) == 0)
		return steal(&image.id);
	return read_id_of_plan(dir);
}
