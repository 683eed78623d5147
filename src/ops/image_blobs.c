#include "ops/image_blobs.h"

#include <string.h>

#include "util/failpoint.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"

char *image_blobs_dir(const Context *ctx)
{
	return store_path(&ctx->store, "blobs");
}

/* NULL for a digest of another kind. */
static char *blob_path(const Context *ctx, const char *digest)
{
	const char *hex = manifest_digest_hex(digest);

	return hex ? xasprintf("%s/blobs/sha256/%s", ctx->store.dir, hex) : NULL;
}

int image_blobs_hold(Context *ctx, int *out_lock, Error **err)
{
	auto_free char *dir = image_blobs_dir(ctx);
	auto_fd lock = -1;

	if (store_lock_source(&ctx->store, "store", "blobs", &lock, err) < 0 ||
	    fs_mkdir(dir, 0700, err) < 0)
		return -1;
	*out_lock = steal_fd(&lock);
	return 0;
}

static bool has_size(const Context *ctx, const char *digest, uint64_t size_bytes)
{
	auto_free char *path = blob_path(ctx, digest);
	struct stat st;

	return path && lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == size_bytes;
}

int image_blobs_manifest(const Context *ctx, const char *digest, Manifest *out_manifest)
{
	auto_free char *path = blob_path(ctx, digest);
	json_auto_t *doc = NULL;

	return path && json_read_file(path, &doc, NULL) == 0 &&
	       manifest_from_json(doc, out_manifest, NULL) == 0;
}

uint64_t image_blobs_missing(const Context *ctx, const Manifest *manifest)
{
	uint64_t missing = 0;

	for (size_t i = 0; i < manifest->count; i++) {
		const ManifestBlob *blob = &manifest->blobs[i];

		/* An empty blob that is missing counts too: it has to be fetched. */
		if (!has_size(ctx, blob->digest, blob->size_bytes))
			missing += blob->size_bytes ? blob->size_bytes : 1;
	}
	return missing;
}

int image_blobs_discard(const Context *ctx, const char *digest, Error **err)
{
	auto_free char *path = blob_path(ctx, digest);

	if (!path)
		return 0;
	if (failpoint("image.blob.discard", err) < 0)
		return -1;
	return fs_remove(path, err);
}

int image_blobs_discard_cut(const Context *ctx, const Manifest *manifest, Error **err)
{
	int found = 0;

	for (size_t i = 0; i < manifest->count; i++) {
		const ManifestBlob *blob = &manifest->blobs[i];

		if (has_size(ctx, blob->digest, blob->size_bytes))
			continue;
		if (image_blobs_discard(ctx, blob->digest, err) < 0)
			return -1;
		found = 1;
	}
	return found;
}

int image_blobs_usage(const Context *ctx, uint64_t *out_count, uint64_t *out_bytes, Error **err)
{
	auto_free char *dir = store_path(&ctx->store, "blobs/sha256");
	auto_strv Strv names = { 0 };
	uint64_t bytes = 0;

	if (fs_list(dir, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.count; i++) {
		auto_free char *path = path_join(dir, names.items[i]);
		struct stat st;

		if (lstat(path, &st) == 0)
			bytes += (uint64_t)st.st_blocks * 512;
	}
	*out_count = names.count;
	*out_bytes = bytes;
	return 0;
}

int image_blobs_clear(const Context *ctx, Error **err)
{
	auto_free char *dir = store_path(&ctx->store, "blobs/sha256");

	if (failpoint("image.prune.blobs", err) < 0)
		return -1;
	return fs_remove_tree(dir, err);
}
