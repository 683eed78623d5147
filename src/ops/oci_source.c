#include "ops/oci_source.h"

#include <string.h>

#include "model/oci.h"
#include "model/uuid.h"
#include "ops/disk.h"
#include "ops/image_blobs.h"
#include "ops/image_helper.h"
#include "ops/leftover.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/mem.h"

/* The first blob that is not what its digest says any more, owned; NULL: all of them are. */
static int find_damage(Context *ctx, const char *dir, const OciBlobs *blobs, char **out_digest,
		       Error **err)
{
	auto_command Command cmd = { 0 };
	json_auto_t *result = NULL;

	if (image_helper_init(&cmd, err) < 0)
		return -1;
	command_add(&cmd, "verify");
	command_addf(&cmd, "--blobs=%s", dir);
	for (size_t i = 0; i < blobs->count; i++)
		command_add(&cmd, blobs->items[i].digest);
	return image_helper_run(ctx, &cmd, blobs->total_bytes, &result, out_digest, err);
}

/* A cache that is damaged is no reason to give up: the disk is still there. 1: it is whole, 0: not. */
static int check_cached(Context *ctx, const char *dir, const OciBlobs *blobs, Error **err)
{
	auto_free char *bad = NULL;
	auto_error damage = NULL;

	report_step(ctx, "check the layers in the cache");
	if (find_damage(ctx, dir, blobs, &bad, &damage) == 0)
		return 1;
	if (!bad) {
		error_move(err, &damage);
		return -1;
	}
	report_warning(ctx, "the blob cache is damaged: '%s' is removed from it", bad);
	return image_blobs_discard(ctx, bad, err);
}

/* 1: the blobs it came with are here, and stay for as long as `source` has the lock. */
static int find_cached(Context *ctx, const Image *image, OciSource *source, Error **err)
{
	auto_free char *dir = store_path(&ctx->store, "blobs");
	int found;

	if (!image->digest || !fs_exists(dir))
		return 0;
	if (store_lock_source(&ctx->store, "store", "blobs", &source->cache_lock, err) < 0)
		return -1;
	found = oci_blobs_find(dir, image->digest, &source->blobs, NULL) == 1
			? check_cached(ctx, dir, &source->blobs, err)
			: 0;
	if (found > 0) {
		source->blobs_dir = steal(&dir);
		return 1;
	}
	oci_blobs_release(&source->blobs);
	close_fd(&source->cache_lock);
	return found;
}

/* ember-image reads the disk and makes one layer, config and manifest of it. */
static int make_blobs(Context *ctx, const char *kind, const Image *image, OciSource *source,
		      Error **err)
{
	auto_command Command cmd = { 0 };
	auto_plain_disk PlainDisk own = { 0 };
	auto_free char *layout = path_join(source->work_dir, "layout");
	auto_free char *config = path_join(source->work_dir, "config.json");
	auto_free char *digest = NULL;
	json_auto_t *document = image_config_to_json(&image->config);
	json_auto_t *result = NULL;

	if (image->id && plain_disk_open(ctx, kind, image->name, image->id, &own, err) < 0)
		return -1;
	report_step(ctx, "read the disk of '%s'", image->name);
	/* Made here: what exists is a directory to ember-image, whatever colons are in its name. */
	if (fs_mkdir(layout, 0700, err) < 0 || json_write_new_file(config, document, err) < 0 ||
	    image_helper_init(&cmd, err) < 0)
		return -1;
	command_add(&cmd, "export");
	command_addf(&cmd, "--disk=%s", image->id ? own.path : image->disk_path);
	command_addf(&cmd, "--layout=%s", layout);
	command_addf(&cmd, "--run-config=%s", config);
	command_addf(&cmd, "--platform=linux/%s", oci_arch_of_machine(image->arch));
	command_addf(&cmd, "--created=%s", image->created_at);
	if (failpoint("image.oci.layer", err) < 0 ||
	    image_helper_run(ctx, &cmd, 0, &result, NULL, err) < 0 ||
	    json_get_string(result, "digest", &digest, err) < 0)
		return -1;
	source->blobs_dir = path_join(layout, "blobs");
	if (oci_blobs_find(source->blobs_dir, digest, &source->blobs, err) == 1)
		return 0;
	return error_set(err, ERR_FAILED, "the layer that was made of the disk is not whole");
}

int oci_source_open(Context *ctx, const char *kind, const Image *image, OciSource *out_source,
		    Error **err)
{
	auto_oci_source OciSource source = { .ctx = ctx, .cache_lock = -1 };
	auto_free char *id = uuid_new();
	int cached = find_cached(ctx, image, &source, err);

	if (cached < 0 || failpoint("image.oci.work", err) < 0)
		return -1;
	source.work_dir = store_work_dir(&ctx->store, kind, image->name, id);
	if (fs_mkdir(source.work_dir, 0700, err) < 0 ||
	    (!cached && make_blobs(ctx, kind, image, &source, err) < 0))
		return -1;
	*out_source = source;
	source = OCI_SOURCE_NONE;
	return 0;
}

void oci_source_release(OciSource *source)
{
	auto_error undo = NULL;

	if (source->work_dir && leftover_destroy(source->ctx, source->work_dir, &undo) < 0)
		report_warning_error(source->ctx, &undo,
				     "remove temporary files (ember reconcile will finish it)");
	close_fd(&source->cache_lock);
	free(source->work_dir);
	free(source->blobs_dir);
	oci_blobs_release(&source->blobs);
	*source = OCI_SOURCE_NONE;
}
