#include "ops/image_make.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "ops/leftover.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/os.h"
#include "util/process.h"

/* What ember-image tells us, line by line. */
typedef struct Maker {
	Context *ctx;
	Image *image;
	bool has_result;
	Error *failure;
} Maker;

int image_begin(Context *ctx, const Image *image, char **out_dir, Error **err)
{
	auto_free char *dir = store_tmp_dir(&ctx->store, "image", image->name);

	if (leftover_destroy(ctx, dir, err) < 0 || failpoint("image.intent", err) < 0 ||
	    fs_mkdir(dir, 0700, err) < 0 || records_write_image_at(dir, image, false, err) < 0)
		return -1;
	*out_dir = steal(&dir);
	return 0;
}

static void take_error(Maker *maker, const json_t *event)
{
	auto_free char *code = NULL;
	auto_free char *message = NULL;
	auto_free char *hint = NULL;

	if (maker->failure)
		return;
	(void)json_get_string_opt(event, "code", &code, NULL);
	(void)json_get_string_opt(event, "message", &message, NULL);
	(void)json_get_string_opt(event, "hint", &hint, NULL);
	error_set(&maker->failure, error_code_from_word(code), "%s",
		  message ? str_make_printable(message) : "the image writer failed without a word");
	if (hint)
		error_hint(&maker->failure, "%s", str_make_printable(hint));
}

static void take_result(Maker *maker, const json_t *event)
{
	Image *image = maker->image;
	const json_t *config = NULL;
	Error **err = &maker->failure;

	if (json_get_u64(event, "size_bytes", INT64_MAX, &image->size_bytes, err) < 0 ||
	    json_get_string_opt(event, "digest", &image->digest, err) < 0 ||
	    json_get_bool_opt(event, "has_init", &image->has_init, err) < 0 ||
	    json_get_object_opt(event, "config", &config, err) < 0 ||
	    (config && image_config_from_json(config, &image->config, err) < 0)) {
		error_wrap(err, "understand the image writer's answer");
		return;
	}
	maker->has_result = true;
}

static void on_line(const char *line, void *arg)
{
	Maker *maker = arg;
	json_auto_t *event = NULL;
	auto_free char *kind = NULL;
	uint64_t done = 0, total = 0;

	if (json_parse_text(line, strlen(line), &event, NULL) < 0 ||
	    json_get_string(event, "event", &kind, NULL) < 0)
		return;
	if (!strcmp(kind, "progress")) {
		(void)json_get_u64_opt(event, "bytes", INT64_MAX, &done, NULL);
		(void)json_get_u64_opt(event, "total", INT64_MAX, &total, NULL);
		report_bytes(maker->ctx, done, total);
	} else if (!strcmp(kind, "warning")) {
		auto_free char *message = NULL;

		if (json_get_string(event, "message", &message, NULL) == 0)
			report_warning(maker->ctx, "%s", str_make_printable(message));
	} else if (!strcmp(kind, "error")) {
		take_error(maker, event);
	} else if (!strcmp(kind, "result") && !maker->has_result && !maker->failure) {
		take_result(maker, event);
	}
}

static int run_writer(Context *ctx, Image *image, const ImageSource *source, const char *output,
		      Error **err)
{
	auto_command Command cmd = { 0 };
	auto_free char *program = NULL;
	auto_free char *guest = NULL;
	Maker maker = { .ctx = ctx, .image = image };
	int result;

	if (context_helper("ember-image", &program, err) < 0 ||
	    context_helper("ember-guest", &guest, err) < 0)
		return -1;
	command_init(&cmd, program, "--output", output, "--guest", guest, NULL);
	if (source->platform) {
		command_add(&cmd, "--platform");
		command_add(&cmd, source->platform);
	}
	command_add(&cmd, source->layout ? "--layout" : "--tar");
	command_add(&cmd, source->layout ? source->layout : "-");
	if (!source->layout)
		cmd.stdin_fd = source->tar_fd;
	cmd.on_line = on_line;
	cmd.on_line_arg = &maker;
	result = command_run(&cmd, DEADLINE_NEVER, err);
	/* Its own words are better than "exit status 1", except when it was interrupted by us. */
	if (maker.failure && (result == 0 || error_code(err ? *err : NULL) != ERR_CANCELED)) {
		if (err)
			error_clear(err);
		error_move(err, &maker.failure);
		return -1;
	}
	error_clear(&maker.failure);
	if (result == 0 && !maker.has_result)
		return error_set(err, ERR_FAILED, "the image writer ended without a result");
	return result;
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
	auto_free char *parent = path_dirname(tmp);
	auto_error cleanup = NULL;

	if (failpoint("image.exchange", err) < 0)
		return -1;
	if (os_rename_exchange(tmp, dir) < 0)
		return error_set_errno(err, errno, "replace '%s' by '%s'", dir, tmp);
	if (fs_sync_path(images, err) < 0 || fs_sync_path(parent, err) < 0)
		return -1;
	if (leftover_destroy(ctx, tmp, &cleanup) < 0)
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
	return fs_sync_path(images, err);
}

int image_tool_init(Command *cmd, const char *program, Error **err)
{
	auto_free char *found = program_find(program);
	auto_free char *hint = NULL;

	/* Asked here, because setpriv's own words for it are no help. */
	if (!found) {
		hint = program_install_hint(program);
		error_set(err, ERR_MISSING_TOOL, "'%s' is not installed", program);
		return error_hint(err, "%s", hint);
	}
	command_init(cmd, "setpriv", "--pdeathsig", "TERM", NULL);
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
