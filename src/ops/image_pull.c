/*
 * Images from OCI layouts, archives and registries. Layouts are read by ember-image where they lie, and their blobs copied
 * into the cache; everything else is brought into it by skopeo, so that credentials, mirrors and TLS are the user's own.
 */
#include <string.h>

#include "model/size.h"
#include "model/uuid.h"
#include "ops/image.h"
#include "ops/image_auth.h"
#include "ops/image_blobs.h"
#include "ops/image_make.h"
#include "ops/image_skopeo.h"
#include "ops/image_source.h"
#include "ops/reconcile.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"

/* In the working directory: what the registry said last. */
#define MANIFEST_FILE "manifest.json"

/* One pull under way. */
typedef struct Pull {
	Context *ctx;
	const PullOptions *options;
	Source source;
	const char *shown; /* the image or the file, for messages */
	RegistryAccess access;
	Image image;	/* being made */
	char *platform; /* os/arch[/variant] */
	char *dir;	/* tmp/image:NAME */
	char *work;	/* where skopeo works: DIR/layout */
	int blobs_lock; /* held while the cache is used */
	int name_lock;
} Pull;

static void pull_release(Pull *pull)
{
	source_release(&pull->source);
	image_release(&pull->image);
	free(pull->platform);
	free(pull->dir);
	free(pull->work);
	close_fd(&pull->blobs_lock);
	close_fd(&pull->name_lock);
}

/* What the registry says of a transport's name, a manifest or an index, without fetching any blob. It also lies in a file. */
static int inspect(Pull *pull, const char *transport, json_t **out_doc, Error **err)
{
	auto_skopeo Skopeo skopeo = { .auth_fd = -1 };
	auto_free char *path = path_join(pull->work, MANIFEST_FILE);
	const Strbuf *text = &skopeo.cmd.output;

	if (skopeo_init(&skopeo, pull->ctx, SKOPEO_INSPECT, pull->platform, pull->work,
			&pull->access, err) < 0)
		return -1;
	command_add(&skopeo.cmd, "--raw");
	command_add(&skopeo.cmd, transport);
	skopeo.cmd.capture = true;
	if (skopeo_run(&skopeo, pull->shown, err) < 0 ||
	    fs_write_atomic(path, strbuf_str(text), text->len, 0600, false, err) < 0)
		return -1;
	if (json_parse_text(strbuf_str(text), text->len, out_doc, err) < 0)
		return error_wrap(err, "read the manifest of '%s'", pull->shown);
	return 0;
}

/* The digest of our platform's manifest as the registry has it now: `doc` is what inspect() got. NULL when it does not
 * say. */
static int remote_digest(Pull *pull, const json_t *doc, char **out_digest, Error **err)
{
	auto_command Command cmd = { 0 };
	char *text;

	if (manifest_is_index(doc)) {
		*out_digest = manifest_pick(doc, pull->platform, NULL);
		return 0;
	}
	if (command_init_tool(&cmd, "skopeo", err) < 0)
		return -1;
	command_add(&cmd, "manifest-digest");
	command_add(&cmd, MANIFEST_FILE);
	cmd.dir = pull->work;
	cmd.capture = true;
	if (command_run(&cmd, DEADLINE_NEVER, err) < 0)
		return -1;
	text = strbuf_take(&cmd.output);
	text[strcspn(text, "\n")] = '\0';
	*out_digest = text;
	return 0;
}

/* How much will have to come, for the progress bar; 0: unknown. */
static int bytes_to_come(Pull *pull, json_t *doc, uint64_t *out_bytes, Error **err)
{
	auto_manifest Manifest manifest = { 0 };
	auto_free char *digest = NULL;
	auto_free char *transport = NULL;
	json_auto_t *inner = NULL;

	if (manifest_is_index(doc)) {
		digest = manifest_pick(doc, pull->platform, NULL);
		if (!digest)
			return 0;
		transport = xasprintf("docker://%s@%s", pull->source.repository, digest);
		if (inspect(pull, transport, &inner, err) < 0)
			return -1;
	}
	if (manifest_from_json(inner ? inner : doc, &manifest, NULL) == 0)
		*out_bytes = image_blobs_missing(pull->ctx, &manifest);
	return 0;
}

/* Is the image that is here already the one with that digest, of the same reference? */
static bool is_here(const Pull *pull, const char *digest)
{
	auto_free char *dir = store_image_dir(&pull->ctx->store, pull->image.name);
	auto_image Image there = { 0 };

	return pull->options->refresh && digest && fs_exists(dir) &&
	       records_read_image_at(dir, &there, NULL) == 0 && str_equal(there.digest, digest) &&
	       str_equal(there.reference, pull->source.reference) &&
	       str_equal(there.arch, pull->image.arch);
}

/* Ask the registry before anything is fetched, where the answer is worth the question. */
static int ask_registry(Pull *pull, uint64_t *out_bytes, bool *out_unmoved, Error **err)
{
	auto_free char *digest = NULL;
	json_auto_t *doc = NULL;

	if (!pull->source.host || (!pull->options->refresh && !pull->ctx->reporter.is_watched))
		return 0;
	if (inspect(pull, pull->source.transport, &doc, err) < 0)
		return -1;
	if (pull->options->refresh) {
		if (remote_digest(pull, doc, &digest, err) < 0)
			return -1;
		*out_unmoved = is_here(pull, digest);
	}
	if (*out_unmoved || !pull->ctx->reporter.is_watched)
		return 0;
	return bytes_to_come(pull, doc, out_bytes, err);
}

/* Bring the image into the cache; `work` becomes a layout that names its manifest. */
static int copy(Pull *pull, uint64_t total_bytes, Error **err)
{
	auto_skopeo Skopeo skopeo = { .auth_fd = -1 };
	auto_free char *blobs = image_blobs_dir(pull->ctx);

	if (skopeo_init(&skopeo, pull->ctx, SKOPEO_COPY_FROM, pull->platform, pull->work,
			&pull->access, err) < 0)
		return -1;
	command_addf(&skopeo.cmd, "--dest-shared-blob-dir=%s", blobs);
	/* A layer stays what its digest says, also one that nobody compressed; but skopeo calls a `docker save`'s gzip. */
	if (!str_starts_with(pull->source.transport, "docker-archive:"))
		command_add(&skopeo.cmd, "--dest-oci-accept-uncompressed-layers");
	command_add(&skopeo.cmd, pull->source.transport);
	/* Named from within: skopeo ends a path at its first colon, and ours have some. */
	command_add(&skopeo.cmd, "oci:image:latest");
	skopeo.total_bytes = total_bytes;
	if (failpoint("image.fetch", err) < 0)
		return -1;
	return skopeo_run(&skopeo, pull->shown, err);
}

static int fetch(Pull *pull, bool *out_unmoved, Error **err)
{
	uint64_t total_bytes = 0;

	report_step(pull->ctx, "fetch %s", pull->shown);
	if ((pull->blobs_lock < 0 && image_blobs_hold(pull->ctx, &pull->blobs_lock, err) < 0) ||
	    fs_mkdir(pull->work, 0700, err) < 0 ||
	    ask_registry(pull, &total_bytes, out_unmoved, err) < 0)
		return -1;
	if (!*out_unmoved && copy(pull, total_bytes, err) < 0)
		return -1;
	return 0;
}

/* The manifest that a layout's index.json names for our platform; NULL when that is not plain. Owned. */
static char *layout_digest(const Pull *pull, const char *dir, const char *tag)
{
	auto_free char *path = path_join(dir, "index.json");
	json_auto_t *index = NULL;

	if (json_read_file(path, &index, NULL) < 0)
		return NULL;
	return manifest_pick(index, pull->platform, tag);
}

static int write_image(Pull *pull, const char *layout, char **out_bad_blob, Error **err)
{
	auto_free char *blobs = image_blobs_dir(pull->ctx);
	ImageSource source = { .layout = layout,
			       .platform = pull->options->platform,
			       .blobs = pull->source.layout ? NULL : blobs,
			       .out_bad_blob = out_bad_blob,
			       .tar_fd = -1 };

	report_step(pull->ctx, "write image '%s'", pull->image.name);
	return image_write(pull->ctx, &pull->image, &source, err);
}

/* A cache may be damaged (a power cut, a bad disk). Throw out what is: 1, 0 when it is not the cache's fault, -1. */
static int discard_damaged(Pull *pull, const char *digest, const char *bad_blob, Error **err)
{
	auto_manifest Manifest manifest = { 0 };
	int cut = 0;

	if (bad_blob && image_blobs_discard(pull->ctx, bad_blob, err) < 0)
		return -1;
	if (image_blobs_manifest(pull->ctx, digest, &manifest))
		cut = image_blobs_discard_cut(pull->ctx, &manifest, err);
	return cut ? cut : bad_blob != NULL;
}

/* From the cache, whose damage is mended once. */
static int write_fetched(Pull *pull, const char *digest, Error **err)
{
	auto_free char *layout = xasprintf("%s/image:latest", pull->work);
	auto_free char *bad_blob = NULL;
	auto_error first = NULL;
	int discarded = 0;

	if (write_image(pull, layout, &bad_blob, &first) == 0)
		return 0;
	if (error_code(first) != ERR_CANCELED)
		discarded = discard_damaged(pull, digest, bad_blob, err);
	if (discarded < 0)
		return error_wrap(err, "mend the blob cache");
	if (!discarded) {
		error_move(err, &first);
		return -1;
	}
	report_warning_error(pull->ctx, &first, "the blob cache is damaged; fetch once more");
	report_step(pull->ctx, "fetch %s again", pull->shown);
	return copy(pull, 0, err) < 0 ? -1 : write_image(pull, layout, NULL, err);
}

/* *out_unmoved: what the reference means is what is here, so there is nothing to write. */
static int make(Pull *pull, bool *out_unmoved, Error **err)
{
	auto_free char *digest = NULL;
	auto_free char *image_dir = NULL;

	if (image_begin(pull->ctx, &pull->image, &pull->dir, err) < 0)
		return -1;
	pull->work = path_join(pull->dir, "layout");
	if (pull->source.layout) {
		digest = layout_digest(pull, pull->source.layout_dir, pull->source.layout_tag);
		*out_unmoved = is_here(pull, digest);
		if (*out_unmoved)
			return 0;
		if (write_image(pull, pull->source.layout, NULL, err) < 0)
			return -1;
	} else {
		if (fetch(pull, out_unmoved, err) < 0)
			return -1;
		image_dir = path_join(pull->work, "image");
		if (!*out_unmoved) {
			digest = layout_digest(pull, image_dir, "latest");
			*out_unmoved = is_here(pull, digest);
		}
		if (*out_unmoved)
			return 0;
		if (write_fetched(pull, digest, err) < 0)
			return -1;
	}
	/* An index in an index: the writer alone knows which manifest it took. */
	*out_unmoved = is_here(pull, pull->image.digest);
	if (*out_unmoved)
		return 0;
	if (pull->source.layout && image_blobs_take(pull->ctx, pull->source.layout_dir,
						    pull->image.digest, pull->dir, err) < 0)
		return -1;
	return image_commit(pull->ctx, &pull->image, pull->dir, pull->options->refresh, err);
}

/* What the image of that name was made from, when that is something else or for another machine; owned, else NULL. */
static char *other_origin(Context *ctx, const char *name, const Source *source, const char *machine)
{
	auto_free char *dir = store_image_dir(&ctx->store, name);
	auto_image Image there = { 0 };

	if (!fs_exists(dir) || records_read_image_at(dir, &there, NULL) < 0)
		return NULL;
	if (!str_equal(there.reference, source->reference))
		return xasprintf("'%s'", there.reference ? there.reference : "");
	return str_equal(there.arch, machine)
		       ? NULL
		       : xasprintf("'%s' for %s", there.reference, there.arch ? there.arch : "?");
}

/* Two references must never share a local name: a second one gets a part of its hash. Decided under the lock of the name,
 * since another pull may be just about to take it. */
static int claim_name(Context *ctx, const Source *source, const PullOptions *options,
		      char **out_name, int *out_lock, Error **err)
{
	auto_free char *machine = source_machine(options->platform);
	/* One reference may be wanted for several machines, too. */
	auto_free char *origin =
		xasprintf("%s%s", source->reference, options->platform ? options->platform : "");
	auto_free char *hashed =
		xasprintf("%.56s-%06x", source->name, (unsigned)(hash_text(origin) & 0xffffff));
	const char *const candidates[] = { options->name ? options->name : source->name, hashed };
	size_t count = options->name ? 1 : ARRAY_SIZE(candidates);
	auto_free char *other = NULL;

	for (size_t i = 0; i < count; i++) {
		auto_fd lock = -1;

		if (store_lock_op(&ctx->store, "image", candidates[i], &lock, err) < 0)
			return -1;
		free(other);
		other = other_origin(ctx, candidates[i], source, machine);
		if (other && !(options->name && options->refresh))
			continue;
		*out_name = xstrdup(candidates[i]);
		*out_lock = steal_fd(&lock);
		return 0;
	}
	error_set(err, ERR_EXISTS, "image '%s' exists already, made from %s", candidates[count - 1],
		  other);
	if (options->record_as)
		return error_hint(err, "choose another name, or replace it: --replace");
	return error_hint(err, "choose another --name, or replace it: --name %s --refresh",
			  candidates[count - 1]);
}

static int check_options(const Pull *pull, Error **err)
{
	const PullOptions *options = pull->options;

	if (source_check_platform(options->platform, err) < 0 ||
	    (options->creds && image_auth_check(options->creds, err) < 0))
		return -1;
	return options->name ? name_check("image", options->name, err) : 0;
}

static void describe(Pull *pull)
{
	Image *image = &pull->image;
	const PullOptions *options = pull->options;

	pull->platform = source_platform(options->platform);
	pull->access = (RegistryAccess){ .host = pull->source.host,
					 .repository = pull->source.repository,
					 .creds = options->creds,
					 .plain_http = options->plain_http,
					 .timeout_s = options->timeout_s };
	image->id = uuid_new();
	image->reference = xstrdup(pull->source.reference);
	image->arch = source_machine(options->platform);
	image->created_at = time_text_now();
}

int ops_image_pull(Context *ctx, const char *reference, const PullOptions *options,
		   Image *out_image, bool *out_existed, Error **err)
{
	CLEANUP(pull_release)
	Pull pull = { .ctx = ctx, .options = options, .blobs_lock = -1, .name_lock = -1 };
	auto_free char *dir = NULL;
	bool unmoved = false;

	if (check_options(&pull, err) < 0 || source_parse(reference, &pull.source, err) < 0 ||
	    context_load_or_init(ctx, err) < 0 || change_begin(ctx, err) < 0)
		return -1;
	if (options->record_as)
		str_assign(&pull.source.reference, options->record_as);
	pull.shown = options->shown ? options->shown : pull.source.reference;
	if (claim_name(ctx, &pull.source, options, &pull.image.name, &pull.name_lock, err) < 0)
		return -1;
	dir = store_image_dir(&ctx->store, pull.image.name);
	*out_existed = fs_exists(dir) && !options->refresh;
	if (*out_existed)
		return records_read_image(&ctx->store, pull.image.name, out_image, err);
	describe(&pull);
	if (make(&pull, &unmoved, err) < 0) {
		image_undo(ctx, pull.image.name);
		return error_wrap(err, "%s '%s'", options->shown ? "read" : "pull",
				  options->shown ? options->shown : reference);
	}
	report_done(ctx);
	*out_existed = unmoved;
	if (unmoved) {
		image_undo(ctx, pull.image.name);
		return records_read_image(&ctx->store, pull.image.name, out_image, err);
	}
	*out_image = pull.image;
	pull.image = (Image){ 0 };
	return 0;
}
