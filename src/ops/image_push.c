/*
 * Images into registries, by skopeo: credentials, mirrors and TLS are the user's own.
 */
#include <string.h>

#include "ops/image.h"
#include "ops/image_auth.h"
#include "ops/image_move.h"
#include "ops/image_skopeo.h"
#include "ops/image_source.h"
#include "ops/oci_source.h"
#include "ops/reconcile.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/mem.h"

#define DIGEST_MAX 200

static int read_digest(const char *path, char **out_digest, Error **err)
{
	auto_free char *text = NULL;

	if (fs_read(path, DIGEST_MAX, &text, NULL, err) < 0)
		return -1;
	text[strcspn(text, "\r\n")] = '\0';
	*out_digest = str_make_printable(steal(&text));
	return 0;
}

static int upload(Context *ctx, const OciSource *source, const Image *image, const ImageRef *ref,
		  const PushOptions *options, char **out_digest, Error **err)
{
	auto_skopeo Skopeo skopeo = { .auth_fd = -1 };
	auto_free char *index = path_join(source->work_dir, "index");
	auto_free char *digest = path_join(source->work_dir, "digest");
	auto_free char *reference = image_ref_text(ref);
	auto_free char *repository = xasprintf("%s/%s", ref->host, ref->repository);
	RegistryAccess access = { .host = ref->host,
				  .repository = repository,
				  .creds = options->creds,
				  .plain_http = options->plain_http,
				  .timeout_s = options->timeout_s };

	report_step(ctx, "push '%s' to %s", image->name, reference);
	if (fs_mkdir(index, 0700, err) < 0 ||
	    oci_layout_write(index, &source->blobs, image->name, err) < 0 ||
	    skopeo_init(&skopeo, ctx, SKOPEO_COPY_TO, NULL, source->work_dir, &access, err) < 0)
		return -1;
	command_add(&skopeo.cmd, "--digestfile=digest");
	command_addf(&skopeo.cmd, "--src-shared-blob-dir=%s", source->blobs_dir);
	/* Named from within: skopeo ends a path at its first colon, and ours have some. */
	command_addf(&skopeo.cmd, "oci:index:%s", image->name);
	command_addf(&skopeo.cmd, "docker://%s", reference);
	skopeo.total_bytes = source->blobs.total_bytes;
	if (failpoint("image.push.upload", err) < 0 || skopeo_run(&skopeo, reference, err) < 0)
		return -1;
	return read_digest(digest, out_digest, err);
}

/* Where it goes to needs a tag: a digest is for the registry to tell. */
static int parse_target(const char *name, const char *text, const PushOptions *options,
			ImageRef *out_ref, Error **err)
{
	auto_image_ref ImageRef ref = { 0 };

	if (source_is_file(text)) {
		error_set(err, ERR_USAGE, "'%s' is in no registry", text);
		return error_hint(err, "write a file: ember image export %s FILE", name);
	}
	if ((options->creds && image_auth_check(options->creds, err) < 0) ||
	    image_ref_parse(text, &ref, err) < 0)
		return -1;
	if (ref.digest) {
		error_set(err, ERR_USAGE, "'%s' names a digest, which the registry gives", text);
		return error_hint(err, "name a tag: %s/%s:TAG", ref.host, ref.repository);
	}
	*out_ref = ref;
	ref = (ImageRef){ 0 };
	return 0;
}

int ops_image_push(Context *ctx, const char *name, const char *reference,
		   const PushOptions *options, char **out_reference, char **out_digest, Error **err)
{
	auto_image_ref ImageRef ref = { 0 };
	auto_oci_source OciSource source = OCI_SOURCE_NONE;
	auto_image Image found = { 0 };
	auto_image Image image = { 0 };
	auto_fd lock = -1;

	if (parse_target(name, reference, options, &ref, err) < 0 || change_begin(ctx, err) < 0 ||
	    ops_image_find(ctx, name, &found, err) < 0 ||
	    store_lock_source(&ctx->store, "image", found.name, &lock, err) < 0 ||
	    records_read_image(&ctx->store, found.name, &image, err) < 0)
		return -1;
	if (oci_source_open(ctx, "image", &image, &source, err) < 0 ||
	    upload(ctx, &source, &image, &ref, options, out_digest, err) < 0)
		return error_wrap(err, "push image '%s' to '%s'", image.name, reference);
	*out_reference = image_ref_text(&ref);
	report_done(ctx);
	return 0;
}
