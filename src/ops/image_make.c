#include "ops/image_make.h"

#include <errno.h>

#include "ops/image_helper.h"
#include "ops/leftover.h"
#include "ops/reconcile.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/os.h"

int image_begin(Context *ctx, const Image *image, char **out_dir, Error **err)
{
	auto_free char *dir = store_tmp_dir(&ctx->store, "image", image->name);

	if (leftover_destroy(ctx, dir, err) < 0 || failpoint("image.intent", err) < 0 ||
	    fs_mkdir(dir, 0700, err) < 0 || records_write_image_at(dir, image, false, err) < 0)
		return -1;
	*out_dir = steal(&dir);
	return 0;
}

static int take_result(const json_t *result, Image *image, Error **err)
{
	const json_t *config = NULL;

	if (json_get_u64(result, "size_bytes", INT64_MAX, &image->size_bytes, err) < 0 ||
	    json_get_string_opt(result, "digest", &image->digest, err) < 0 ||
	    json_get_bool_opt(result, "has_init", &image->has_init, err) < 0 ||
	    json_get_object_opt(result, "config", &config, err) < 0 ||
	    (config && image_config_from_json(config, &image->config, err) < 0))
		return error_wrap(err, "understand the image writer's answer");
	return 0;
}

static int run_writer(Context *ctx, Image *image, const ImageSource *source, const char *output,
		      Error **err)
{
	auto_command Command cmd = { 0 };
	auto_free char *guest = NULL;
	json_auto_t *result = NULL;

	if (image_helper_init(&cmd, err) < 0 || context_helper("ember-guest", &guest, err) < 0)
		return -1;
	command_add(&cmd, "--output");
	command_add(&cmd, output);
	command_add(&cmd, "--guest");
	command_add(&cmd, guest);
	if (source->blobs) {
		command_add(&cmd, "--blobs");
		command_add(&cmd, source->blobs);
	}
	if (source->platform) {
		command_add(&cmd, "--platform");
		command_add(&cmd, source->platform);
	}
	if (source->config) {
		command_add(&cmd, "--config");
		command_add(&cmd, source->config);
	}
	if (source->run_config) {
		command_add(&cmd, "--run-config");
		command_add(&cmd, source->run_config);
	}
	command_add(&cmd, source->layout ? "--layout" : "--tar");
	command_add(&cmd, source->layout ? source->layout : "-");
	if (!source->layout)
		cmd.stdin_fd = source->tar_fd;
	if (image_helper_run(ctx, &cmd, source->total_bytes, &result, source->out_bad_blob, err) <
	    0)
		return -1;
	return take_result(result, image, err);
}

int image_write(Context *ctx, Image *image, const ImageSource *source, Error **err)
{
	auto_free char *path = NULL;

	if (context_open_storage(ctx, err) < 0 ||
	    ctx->storage->import_path(ctx->pool, image->id, &path, err) < 0 ||
	    failpoint("image.write", err) < 0)
		return -1;
	if (run_writer(ctx, image, source, path, err) < 0 || failpoint("image.seal", err) < 0 ||
	    ctx->storage->import_commit(ctx->pool, image->id, err) < 0)
		return -1;
	image->disk_path = ctx->storage->path(&ctx->site, image->id);
	return 0;
}

/* The new image and the former one trade places, so that there is an image of that name at any time. What is in tmp/ then
 * is the former one, which goes the way of everything there. */
static int replace_former(Context *ctx, const Image *image, const char *tmp, const char *dir,
			  const char *images, Error **err)
{
	auto_error cleanup = NULL;

	if (failpoint("image.exchange", err) < 0)
		return -1;
	if (os_rename_exchange(tmp, dir) < 0)
		return error_set_errno(err, errno, "replace '%s' by '%s'", dir, tmp);
	if (change_end(ctx, images) && leftover_destroy(ctx, tmp, &cleanup) < 0)
		report_warning_error(ctx, &cleanup, "remove the former image '%s'", image->name);
	return 0;
}

int image_commit(Context *ctx, const Image *image, const char *tmp, bool replace, Error **err)
{
	auto_free char *dir = store_image_dir(&ctx->store, image->name);
	auto_free char *images = store_path(&ctx->store, "images");
	auto_free char *layout = path_join(tmp, "layout");

	if (fs_remove_tree(layout, err) < 0 || failpoint("image.record", err) < 0 ||
	    records_write_image_at(tmp, image, true, err) < 0)
		return -1;
	if (replace && fs_exists(dir))
		return replace_former(ctx, image, tmp, dir, images, err);
	if (failpoint("image.commit", err) < 0 || fs_rename_new(tmp, dir, err) < 0)
		return -1;
	(void)change_end(ctx, images);
	return 0;
}

void image_undo(Context *ctx, const char *name)
{
	auto_free char *dir = store_tmp_dir(&ctx->store, "image", name);
	auto_error undo = NULL;

	if (leftover_destroy(ctx, dir, &undo) < 0)
		report_warning_error(ctx, &undo, "undo image '%s' (ember reconcile will finish it)",
				     name);
}
