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
	auto_vm_list VmList vms = { 0 };
	auto_strv Strv users = { 0 };
	auto_free char *joined = NULL;
	auto_free char *words = NULL;

	if (records_list_vms(&ctx->store, &vms, err) < 0)
		return -1;
	for (size_t i = 0; i < vms.count; i++)
		if (image->id && str_equal(vms.items[i].image_id, image->id))
			strv_push(&users, vms.items[i].name);
	if (!users.count)
		return 0;
	joined = strv_join(&users, ", ");
	words = strv_join(&users, " ");
	error_set(err, ERR_BUSY, "image '%s' is used by %s", image->name, joined);
	return error_hint(err, "remove them first: ember vm delete %s", words);
}

int ops_image_delete(Context *ctx, const char *name, Error **err)
{
	auto_image Image image = { 0 };
	auto_free char *dir = NULL;
	auto_free char *images = NULL;
	auto_free char *trash = NULL;
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
	if (image.id && refuse_used(ctx, &image, err) < 0)
		return -1;
	images = store_path(&ctx->store, "images");
	trash = store_trash_dir(&ctx->store, "image", name, image.id ? image.id : "broken00");
	if (leftover_destroy(ctx, trash, err) < 0 || failpoint("image.delete.hide", err) < 0 ||
	    fs_rename(dir, trash, err) < 0 || fs_sync_path(images, err) < 0 ||
	    leftover_destroy(ctx, trash, err) < 0)
		return error_wrap(err, "delete image '%s'", name);
	return 0;
}
