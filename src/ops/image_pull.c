/*
 * Images from OCI layouts, archives and registries. Layouts are read by ember-image itself; everything else is turned into
 * a layout by skopeo, so that credentials, mirrors and TLS are the user's own.
 */
#include <string.h>

#include "model/size.h"
#include "model/uuid.h"
#include "ops/image.h"
#include "ops/image_auth.h"
#include "ops/image_make.h"
#include "ops/reconcile.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"
#include "util/process.h"

/* What the user's reference means. */
typedef struct Source {
	char *layout;	 /* DIR[:TAG] when it is a layout already */
	char *transport; /* what skopeo reads otherwise */
	char *reference; /* for the record */
	char *name;	 /* local name it would get */
	char *host;	 /* the registry; NULL for what is a local file */
} Source;

static void source_release(Source *source)
{
	free(source->layout);
	free(source->transport);
	free(source->reference);
	free(source->name);
	free(source->host);
	*source = (Source){ 0 };
}

/* "DIR:TAG" or "DIR": a last colon followed by a slash belongs to the path. */
static char *path_part(const char *text)
{
	const char *colon = strrchr(text, ':');

	if (colon && !strchr(colon, '/'))
		return xstrndup(text, (size_t)(colon - text));
	return xstrdup(text);
}

/* A local path: made absolute, checked, and named after its last part and tag. */
static int parse_path(const char *reference, const char *prefix, Source *source, Error **err)
{
	const char *rest = reference + strlen(prefix);
	auto_free char *path = path_part(rest);
	const char *tail = rest + strlen(path);
	auto_free char *absolute = NULL;
	auto_free char *label = NULL;

	if (!*path || !fs_exists(path)) {
		error_set(err, *path ? ERR_NOT_FOUND : ERR_USAGE, "'%s' names no existing path",
			  reference);
		return error_hint(err, "write it like %sPATH or %sPATH:TAG", prefix, prefix);
	}
	if (path_absolute(path, &absolute, err) < 0)
		return -1;
	while (strlen(absolute) > 1 && str_ends_with(absolute, "/"))
		absolute[strlen(absolute) - 1] = '\0';
	label = xasprintf("%s%s", path_basename(absolute), tail);
	source->name = image_name_from_text(label);
	source->reference = xasprintf("%s%s%s", prefix, absolute, tail);
	if (!strcmp(prefix, "oci:"))
		source->layout = xasprintf("%s%s", absolute, tail);
	else
		source->transport = xstrdup(source->reference);
	return 0;
}

static int parse_source(const char *reference, Source *source, Error **err)
{
	static const char *const prefixes[] = { "oci:", "oci-archive:", "docker-archive:" };
	CLEANUP(image_ref_release) ImageRef ref = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (str_starts_with(reference, prefixes[i]))
			return parse_path(reference, prefixes[i], source, err);
	if (image_ref_parse(reference, &ref, err) < 0)
		return -1;
	source->host = xstrdup(ref.host);
	source->reference = image_ref_text(&ref);
	source->name = image_ref_local_name(&ref);
	source->transport = xasprintf("docker://%s", source->reference);
	return 0;
}

/* skopeo's names for machines are Go's. */
static const char *go_arch(void)
{
	return !strcmp(os_machine(), "aarch64") ? "arm64" : "amd64";
}

/* What the record says: our names for the machines that we know, else what was asked for. */
static char *arch_of(const char *platform)
{
	const char *arch = platform ? platform + strlen("linux/") : NULL;
	size_t len = arch ? strcspn(arch, "/") : 0;

	if (!arch)
		return xstrdup(os_machine());
	if (len == 5 && !memcmp(arch, "amd64", len))
		return xstrdup("x86_64");
	if (len == 5 && !memcmp(arch, "arm64", len))
		return xstrdup("aarch64");
	return xstrndup(arch, len);
}

static int check_platform(const char *platform, Error **err)
{
	if (!platform || (str_starts_with(platform, "linux/") && platform[6]))
		return 0;
	error_set(err, ERR_USAGE, "--platform: '%s' is not os/arch of a Linux image", platform);
	return error_hint(err, "write it like --platform linux/amd64");
}

/* A registry that answers, but has no such thing, in the words of the distribution specification. */
static void tell_missing(Error **err)
{
	const char *said = err && *err ? error_detail_text(*err) : NULL;

	if (said && (strstr(said, "manifest unknown") || strstr(said, "name unknown")))
		error_recode(err, ERR_NOT_FOUND);
}

static int fetch(Context *ctx, const Source *source, const PullOptions *options, const char *dir,
		 char **out_layout, Error **err)
{
	auto_command Command cmd = { 0 };
	const char *arch = options->platform ? options->platform + strlen("linux/") : go_arch();
	auto_free char *auth = NULL;
	bool failed;
	const char *const words[] = {
		"skopeo", "--override-os", "linux", "--override-arch", arch, "copy", "--quiet",
	};

	report_step(ctx, "fetch %s", source->reference);
	if (image_tool_init(&cmd, "skopeo", err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		command_add(&cmd, words[i]);
	if (options->plain_http)
		command_add(&cmd, "--src-tls-verify=false");
	if (options->creds && source->host) {
		auth = path_join(dir, "auth.json");
		if (image_auth_write(auth, source->host, options->creds, err) < 0)
			return -1;
		command_addf(&cmd, "--src-authfile=%s", auth);
	}
	command_add(&cmd, source->transport);
	/* Named from within: skopeo ends a path at its first colon, and ours have some. */
	command_add(&cmd, "oci:layout:latest");
	cmd.dir = dir;
	failed = failpoint("image.fetch", err) < 0 || command_run(&cmd, DEADLINE_NEVER, err) < 0;
	/* At once: it must neither stay nor become part of the image's directory. */
	if (auth && fs_remove(auth, failed ? NULL : err) < 0)
		failed = true;
	if (failed) {
		tell_missing(err);
		if (error_code(err ? *err : NULL) == ERR_FAILED ||
		    error_code(err ? *err : NULL) == ERR_NOT_FOUND)
			error_hint(err, "check the reference and your login: skopeo inspect %s",
				   source->transport);
		return error_wrap(err, "fetch '%s'", source->reference);
	}
	*out_layout = xasprintf("%s/layout:latest", dir);
	return 0;
}

/* Is the image that is here already the very same? */
static bool is_unmoved(Context *ctx, const Image *image)
{
	auto_free char *dir = store_image_dir(&ctx->store, image->name);
	auto_image Image there = { 0 };

	return fs_exists(dir) && records_read_image_at(dir, &there, NULL) == 0 && there.digest &&
	       str_equal(there.digest, image->digest) &&
	       str_equal(there.reference, image->reference);
}

/* *out_unmoved: what was fetched is what is here, so there is nothing to commit. */
static int make(Context *ctx, const Source *source, const PullOptions *options, Image *image,
		bool *out_unmoved, Error **err)
{
	auto_free char *dir = NULL;
	auto_free char *layout = xstrdup_null(source->layout);
	ImageSource writer = { .platform = options->platform, .tar_fd = -1 };

	if (image_begin(ctx, image, &dir, err) < 0 ||
	    (!layout && fetch(ctx, source, options, dir, &layout, err) < 0))
		return -1;
	writer.layout = layout;
	report_step(ctx, "write image '%s'", image->name);
	if (image_write(ctx, image, &writer, err) < 0)
		return -1;
	*out_unmoved = options->refresh && is_unmoved(ctx, image);
	if (*out_unmoved)
		return 0;
	return image_commit(ctx, image, dir, options->refresh, err);
}

/* What the image of that name was made from, when that is something else; owned, else NULL. */
static char *other_reference(Context *ctx, const char *name, const Source *source)
{
	auto_free char *dir = store_image_dir(&ctx->store, name);
	auto_image Image there = { 0 };

	if (!fs_exists(dir) || records_read_image_at(dir, &there, NULL) < 0 ||
	    str_equal(there.reference, source->reference))
		return NULL;
	return steal(&there.reference);
}

/* Two references must never share a local name: a second one gets a part of its hash. Decided under the lock of the name,
 * since another pull may be just about to take it. */
static int claim_name(Context *ctx, const Source *source, const PullOptions *options,
		      char **out_name, int *out_lock, Error **err)
{
	auto_free char *hashed = xasprintf("%.56s-%06x", source->name,
					   (unsigned)(hash_text(source->reference) & 0xffffff));
	const char *const candidates[] = { options->name ? options->name : source->name, hashed };
	size_t count = options->name ? 1 : ARRAY_SIZE(candidates);
	auto_free char *other = NULL;

	for (size_t i = 0; i < count; i++) {
		auto_fd lock = -1;

		if (store_lock_op(&ctx->store, "image", candidates[i], &lock, err) < 0)
			return -1;
		free(other);
		other = other_reference(ctx, candidates[i], source);
		if (other && !(options->name && options->refresh))
			continue;
		*out_name = xstrdup(candidates[i]);
		*out_lock = steal_fd(&lock);
		return 0;
	}
	error_set(err, ERR_EXISTS, "image '%s' exists already, made from '%s'",
		  candidates[count - 1], other);
	return error_hint(err, "choose another --name, or replace it: --name %s --refresh",
			  candidates[count - 1]);
}

int ops_image_pull(Context *ctx, const char *reference, const PullOptions *options,
		   Image *out_image, bool *out_existed, Error **err)
{
	CLEANUP(source_release) Source source = { 0 };
	auto_image Image image = { 0 };
	auto_free char *dir = NULL;
	auto_fd lock = -1;

	if (parse_source(reference, &source, err) < 0 ||
	    check_platform(options->platform, err) < 0 ||
	    (options->creds && image_auth_check(options->creds, err) < 0) ||
	    (options->name && name_check("image", options->name, err) < 0) ||
	    context_load_or_init(ctx, err) < 0 || change_begin(ctx, err) < 0 ||
	    claim_name(ctx, &source, options, &image.name, &lock, err) < 0)
		return -1;
	dir = store_image_dir(&ctx->store, image.name);
	*out_existed = fs_exists(dir) && !options->refresh;
	if (*out_existed)
		return records_read_image(&ctx->store, image.name, out_image, err);
	image.id = uuid_new();
	image.reference = xstrdup(source.reference);
	image.arch = arch_of(options->platform);
	image.created_at = time_text_now();
	if (make(ctx, &source, options, &image, out_existed, err) < 0) {
		image_undo(ctx, image.name);
		return error_wrap(err, "pull '%s'", reference);
	}
	report_done(ctx);
	if (*out_existed) {
		image_undo(ctx, image.name);
		return records_read_image(&ctx->store, image.name, out_image, err);
	}
	*out_image = image;
	image = (Image){ 0 };
	return 0;
}
