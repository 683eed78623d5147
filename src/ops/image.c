#include "ops/image.h"

#include <string.h>

#include "model/vm.h"
#include "ops/leftover.h"
#include "ops/reconcile.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

int ops_image_list(Context *ctx, ImageList *out_list, Error **err)
{
	return records_list_images(&ctx->store, out_list, err);
}

/* A name or reference of an image at all? What is none can be neither here nor anywhere else. */
static int check_words(const char *text, Error **err)
{
	CLEANUP(image_ref_release) ImageRef ref = { 0 };

	if (name_check("image", text, NULL) == 0 || str_starts_with(text, "oci:") ||
	    str_starts_with(text, "oci-archive:") || str_starts_with(text, "docker-archive:"))
		return 0;
	return image_ref_parse(text, &ref, err);
}

static int find_by_reference(Context *ctx, const char *text, Image *out_image, Error **err)
{
	CLEANUP(image_ref_release) ImageRef ref = { 0 };
	auto_image_list ImageList images = { 0 };
	auto_free char *full = NULL;

	if (image_ref_parse(text, &ref, NULL) == 0)
		full = image_ref_text(&ref);
	if (records_list_images(&ctx->store, &images, err) < 0)
		return -1;
	for (size_t i = 0; i < images.count; i++) {
		Image *image = &images.items[i];

		if (!image->id ||
		    (!str_equal(image->reference, full) && !str_equal(image->reference, text)))
			continue;
		*out_image = *image;
		*image = (Image){ 0 };
		return 0;
	}
	return 1;
}

int ops_image_find(Context *ctx, const char *text, Image *out_image, Error **err)
{
	auto_free char *dir = NULL;
	auto_free char *shown = NULL;
	auto_free char *images = NULL;
	auto_strv Strv names = { 0 };
	const char *nearest;
	int missing;

	if (name_check("image", text, NULL) == 0) {
		dir = store_image_dir(&ctx->store, text);
		if (fs_exists(dir))
			return records_read_image(&ctx->store, text, out_image, err);
	}
	missing = find_by_reference(ctx, text, out_image, err);
	if (missing <= 0)
		return missing;
	if (check_words(text, err) < 0)
		return -1;
	shown = str_make_printable(xasprintf("%.100s", text));
	images = store_path(&ctx->store, "images");
	(void)fs_list(images, &names, NULL);
	nearest = str_nearest(shown, (const char *const *)names.items, names.count);
	error_set(err, ERR_NOT_FOUND, "image '%s' is not here", shown);
	if (nearest)
		return error_hint(err, "did you mean '%s'? or fetch it: ember image pull %s",
				  nearest, shown);
	return error_hint(err,
			  "fetch it: ember image pull %s (or make one: ember image build debian)",
			  shown);
}

/* VMs keep their own clone, but the image is what their record and their forks speak of. */
static int refuse_used(Context *ctx, const Image *image, Error **err)
{
	auto_strv Strv users = { 0 };
	auto_free char *joined = NULL;
	auto_free char *words = NULL;

	if (image_users(ctx, image, &users, err) < 0)
		return -1;
	if (!users.count)
		return 0;
	joined = strv_join(&users, ", ");
	words = strv_join(&users, " ");
	error_set(err, ERR_BUSY, "image '%s' is used by %s", image->name, joined);
	return error_hint(err, "remove them first: ember vm delete %s", words);
}

int image_users(Context *ctx, const Image *image, Strv *out_users, Error **err)
{
	auto_vm_list VmList vms = { 0 };

	if (!image->id)
		return 0;
	if (records_list_vms(&ctx->store, &vms, err) < 0)
		return -1;
	for (size_t i = 0; i < vms.count; i++)
		if (str_equal(vms.items[i].image_id, image->id))
			strv_push(out_users, vms.items[i].name);
	return 0;
}

bool image_find_origin(Context *ctx, const Vm *vm, Image *out_origin)
{
	auto_image_list ImageList images = { 0 };

	if (!vm->image_id || records_list_images(&ctx->store, &images, NULL) < 0)
		return false;
	for (size_t i = 0; i < images.count; i++) {
		if (!str_equal(images.items[i].id, vm->image_id))
			continue;
		*out_origin = images.items[i];
		images.items[i] = (Image){ 0 };
		return true;
	}
	return false;
}

int image_delete_locked(Context *ctx, const char *name, const char *id, Error **err)
{
	auto_free char *dir = store_image_dir(&ctx->store, name);
	auto_free char *images = store_path(&ctx->store, "images");
	auto_free char *trash = store_trash_dir(&ctx->store, "image", name, id ? id : "broken00");

	if (leftover_destroy(ctx, trash, err) < 0 || failpoint("image.delete.hide", err) < 0 ||
	    fs_rename(dir, trash, err) < 0 ||
	    (change_end(ctx, images) && leftover_destroy(ctx, trash, err) < 0))
		return error_wrap(err, "delete image '%s'", name);
	return 0;
}

int ops_image_delete(Context *ctx, const char *name, Error **err)
{
	auto_image Image image = { 0 };
	auto_free char *dir = NULL;
	auto_fd lock = -1;

	if (change_begin(ctx, err) < 0 || name_check("image", name, err) < 0)
		return -1;
	dir = store_image_dir(&ctx->store, name);
	if (!fs_exists(dir))
		return records_read_image(&ctx->store, name, &image,
					  err); /* says what is there instead */
	if (store_lock_op(&ctx->store, "image", name, &lock, err) < 0)
		return -1;
	/* A broken record has no say in who uses it; deleting is the way to be rid of it. */
	(void)records_read_image_at(dir, &image, NULL);
	if (refuse_used(ctx, &image, err) < 0)
		return -1;
	return image_delete_locked(ctx, name, image.id, err);
}

/* A record speaks only for the directory that it names. So it names both before the rename, which is the commit: whether
 * that happens or not, it is right. */
static int rename_dir(Context *ctx, Image *image, const char *to, const char *new_name, Error **err)
{
	auto_free char *from = store_image_dir(&ctx->store, image->name);
	auto_free char *images = store_path(&ctx->store, "images");

	image->former_name = image->name;
	image->name = xstrdup(new_name);
	if (failpoint("image.rename.record", err) < 0 ||
	    records_write_image_at(from, image, true, err) < 0 ||
	    failpoint("image.rename.commit", err) < 0 || fs_rename_new(from, to, err) < 0)
		return -1;
	str_assign(&image->former_name, NULL);
	(void)change_end(ctx, images);
	return 0;
}

int ops_image_rename(Context *ctx, const char *name, const char *new_name, Image *out_image,
		     Error **err)
{
	auto_free char *to = NULL;
	auto_image Image image = { 0 };
	auto_fd first_lock = -1;
	auto_fd second_lock = -1;

	if (name_check("image", name, err) < 0 || name_check("image", new_name, err) < 0 ||
	    change_begin(ctx, err) < 0 ||
	    store_lock_pair(&ctx->store, "image", name, new_name, &first_lock, &second_lock, err) <
		    0 ||
	    records_read_image(&ctx->store, name, &image, err) < 0)
		return -1;
	to = store_image_dir(&ctx->store, new_name);
	if (fs_exists(to)) {
		error_set(err, ERR_EXISTS, "image '%s' already exists", new_name);
		return error_hint(err, "choose another name, or remove it: ember image delete %s",
				  new_name);
	}
	if (rename_dir(ctx, &image, to, new_name, err) < 0)
		return error_wrap(err, "rename image '%s'", name);
	*out_image = image;
	image = (Image){ 0 };
	return 0;
}
