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

static bool is_whole(const char *path, uint64_t size_bytes)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size_bytes;
}

static bool has_size(const Context *ctx, const char *digest, uint64_t size_bytes)
{
	auto_free char *path = blob_path(ctx, digest);

	return path && is_whole(path, size_bytes);
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

/* 1: it is in the cache now, 0: not in the layout, -1. */
static int take_blob(const Context *ctx, const char *layout, const ManifestBlob *blob,
		     const char *scratch, Error **err)
{
	auto_free char *to = blob_path(ctx, blob->digest);
	auto_free char *from = NULL;

	if (!to)
		return 0;
	if (is_whole(to, blob->size_bytes))
		return 1;
	from = xasprintf("%s/blobs/sha256/%s", layout, manifest_digest_hex(blob->digest));
	if (!is_whole(from, blob->size_bytes))
		return 0;
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
	auto_free char *text = NULL;
	auto_free char *path = xasprintf("%s/blobs/sha256/%s", layout, manifest_digest_hex(digest));
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
		taken = take_blob(ctx, layout, &manifest.blobs[i], scratch, err);
	self.size_bytes = len;
	return taken > 0 ? take_blob(ctx, layout, &self, scratch, err) : taken;
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
