#include "ops/image_blobs.h"

#include <errno.h>
#include <fcntl.h>
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
	auto_free char *dir = image_blobs_dir(ctx);

	return manifest_blob_path(dir, digest);
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

int image_blobs_manifest(const Context *ctx, const char *digest, Manifest *out_manifest)
{
	auto_free char *path = blob_path(ctx, digest);
	json_auto_t *doc = NULL;

	return path && json_read_file(path, &doc, NULL) == 0 &&
	       manifest_from_json(doc, out_manifest, NULL) == 0;
}

uint64_t image_blobs_missing(const Context *ctx, const Manifest *manifest)
{
	auto_free char *dir = image_blobs_dir(ctx);
	uint64_t missing = 0;

	for (size_t i = 0; i < manifest->count; i++) {
		const ManifestBlob *blob = &manifest->blobs[i];

		/* An empty blob that is missing counts too: it has to be fetched. */
		if (!manifest_blob_is_here(dir, blob))
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
	auto_free char *dir = image_blobs_dir(ctx);
	int found = 0;

	for (size_t i = 0; i < manifest->count; i++) {
		const ManifestBlob *blob = &manifest->blobs[i];

		if (manifest_blob_is_here(dir, blob))
			continue;
		if (image_blobs_discard(ctx, blob->digest, err) < 0)
			return -1;
		found = 1;
	}
	return found;
}

/* A copy of it in the working directory, which becomes a blob in one step. */
static int copy_blob(const char *from, const char *scratch, const char *to, Error **err)
{
	auto_free char *copy = path_join(scratch, "blob");
	/* A file of a stranger: no link to another one, and no pipe that nobody writes to. */
	auto_fd in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	auto_fd out = -1;

	if (in < 0)
		return error_set_errno(err, errno, "open '%s'", from);
	out = open(copy, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return error_set_errno(err, errno, "make '%s'", copy);
	if (fs_copy_contents(in, out, NULL, NULL, err) < 0)
		return error_wrap(err, "copy '%s'", from);
	if (failpoint("image.blob.name", err) < 0)
		return -1;
	return fs_rename(copy, to, err);
}

/* From the directory `theirs` to the cache `ours`. 1: it is there now, 0: they do not have it, -1. */
static int take_blob(const char *ours, const char *theirs, const ManifestBlob *blob,
		     const char *scratch, Error **err)
{
	auto_free char *to = NULL;
	auto_free char *from = NULL;

	if (manifest_blob_is_here(ours, blob))
		return 1;
	if (!manifest_blob_is_here(theirs, blob))
		return 0;
	to = manifest_blob_path(ours, blob->digest);
	from = manifest_blob_path(theirs, blob->digest);
	if (failpoint("image.blob.take", err) < 0 ||
	    (scratch ? copy_blob(from, scratch, to, err) : fs_rename(from, to, err)) < 0)
		return -1;
	return 1;
}

/* The manifest last: where it is, all that it speaks of was there once. */
static int take_all(const Context *ctx, const char *layout, const char *digest, const char *scratch,
		    Error **err)
{
	auto_manifest Manifest manifest = { 0 };
	auto_free char *ours = image_blobs_dir(ctx);
	auto_free char *theirs = path_join(layout, "blobs");
	auto_free char *path = manifest_blob_path(theirs, digest);
	auto_free char *text = NULL;
	auto_free char *name = xstrdup(digest);
	ManifestBlob self = { .digest = name };
	json_auto_t *doc = NULL;
	size_t len = 0;
	int taken = 1;

	if (fs_read(path, JSON_TEXT_MAX, &text, &len, err) < 0 ||
	    json_parse_text(text, len, &doc, err) < 0 ||
	    manifest_from_json(doc, &manifest, err) < 0)
		return -1;
	for (size_t i = 0; i < manifest.count && taken > 0; i++)
		taken = take_blob(ours, theirs, &manifest.blobs[i], scratch, err);
	self.size_bytes = len;
	return taken > 0 ? take_blob(ours, theirs, &self, scratch, err) : taken;
}

int image_blobs_take(Context *ctx, const char *layout, const char *digest, const char *scratch,
		     Error **err)
{
	auto_free char *dir = store_path(&ctx->store, "blobs/sha256");
	auto_fd lock = -1;

	if (!manifest_digest_hex(digest))
		return 0;
	if (image_blobs_hold(ctx, &lock, err) < 0 || fs_mkdir(dir, 0700, err) < 0 ||
	    take_all(ctx, layout, digest, scratch, err) < 0)
		return error_wrap(err, "keep the layers in the blob cache");
	return 0;
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
