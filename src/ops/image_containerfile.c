/*
 * Images from a Containerfile: an engine builds it, gives it as an OCI layout, and the rest is the path of `image pull`.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "ops/image_blobs.h"
#include "ops/image_build.h"
#include "ops/image_make.h"
#include "ops/image_source.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

/* Our notes in the working directory: which engine was started, and the id that it gave its image. */
#define ENGINE_NOTE "engine"
#define ID_NOTE	    "image-id"
#define ARCHIVE	    "image.tar"
/* Where the engine keeps what it needs for a moment: one that is killed leaves that behind, podman always. */
#define WORK_DIR "work"

#define ID_MAX		  256
#define CONTAINERFILE_MAX (1U << 20)

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int resolve(const char *path, char **out_path, Error **err)
{
	char *resolved = realpath(path, NULL);

	if (!resolved)
		return error_set_errno(err, errno, "resolve '%s'", path);
	*out_path = resolved;
	return 0;
}

static int find_context(const BuildOptions *options, BuildPlan *plan, Error **err)
{
	const char *context = options->context ? options->context : ".";

	if (is_directory(context))
		return resolve(context, &plan->context, err);
	if (fs_exists(context)) {
		error_set(err, ERR_USAGE, "context '%s' is not a directory", context);
		return error_hint(err, "a Containerfile is named with -f %s", context);
	}
	error_set(err, ERR_NOT_FOUND, "context '%s' does not exist", context);
	return error_hint(err, "name the directory that COPY takes files from");
}

static int find_file(const BuildOptions *options, BuildPlan *plan, Error **err)
{
	static const char *const names[] = { "Containerfile", "Dockerfile" };

	if (options->file && is_file(options->file))
		return resolve(options->file, &plan->file, err);
	for (size_t i = 0; i < (options->file ? 1 : ARRAY_SIZE(names)); i++) {
		auto_free char *path =
			path_join(plan->context, options->file ? options->file : names[i]);

		if (!is_file(path))
			continue;
		return resolve(path, &plan->file, err);
	}
	if (options->file) {
		error_set(err, ERR_NOT_FOUND, "Containerfile '%s' does not exist", options->file);
		return error_hint(err, "-f is looked up from here, then in the context '%s'",
				  plan->context);
	}
	error_set(err, ERR_NOT_FOUND, "'%s' has neither a Containerfile nor a Dockerfile",
		  plan->context);
	return error_hint(err, "name the file: -f FILE");
}

int image_containerfile_plan(const BuildOptions *options, BuildPlan *plan, Error **err)
{
	if (source_check_platform(options->platform, err) < 0 ||
	    find_context(options, plan, err) < 0 || find_file(options, plan, err) < 0)
		return -1;
	plan->engine = image_engine_find(options->engine, err);
	if (!plan->engine)
		return -1;
	plan->reference = options->target ? xasprintf("local:%s#%s", plan->file, options->target)
					  : xasprintf("local:%s", plan->file);
	return 0;
}

static EngineBuild engine_build(const BuildPlan *plan)
{
	return (EngineBuild){ .file = plan->file,
			      .context = plan->context,
			      .build_args = plan->options->build_args,
			      .target = plan->options->target,
			      .platform = plan->options->platform,
			      .no_cache = plan->options->no_cache };
}

/* What the engine says is shown as it comes. */
typedef struct Listener {
	Context *ctx;
	bool is_seen;
} Listener;

static void on_line(const char *line, void *arg)
{
	Listener *listener = arg;

	if (report_line(listener->ctx, line))
		listener->is_seen = true;
}

/* The engine's own words are the explanation: on the terminal already, or else in the error. */
static int explain(const BuildPlan *plan, bool is_seen, const Error *cause, Error **err)
{
	auto_free char *by_hand = NULL;
	EngineBuild build = engine_build(plan);
	bool is_failed = error_code(cause) == ERR_FAILED;

	if (is_failed)
		error_set(err, ERR_FAILED, "%s could not build '%s'",
			  image_engine_name(plan->engine), plan->file);
	else
		error_set(err, error_code(cause), "%s", error_text(cause));
	if (!is_seen)
		error_detail(err, error_detail_text(cause));
	if (!is_failed)
		return error_hint_text(cause) ? error_hint(err, "%s", error_hint_text(cause)) : -1;
	by_hand = image_engine_text(plan->engine, &build);
	return error_hint(err, "its output says why; to try it by hand: %s", by_hand);
}

/* A directory that only we put things into. Anybody may have made one of its name where temporary files are. */
static int make_own(const char *path, Error **err)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set_errno(err, errno, "make '%s'", path);
	if (lstat(path, &st) < 0)
		return error_set_errno(err, errno, "look at '%s'", path);
	if (S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	return error_set(err, ERR_DENIED, "'%s' is not a directory that only this user may change",
			 path);
}

/* RUN --mount=type=cache keeps its files for later builds in the directory for temporary files, under a name that depends
 * on the version: they stay where the engine has them when nobody moves that directory. */
static int keep_caches(Context *ctx, const BuildPlan *plan, const char *work, Error **err)
{
	const char *usual = str_is_empty(getenv("TMPDIR")) ? "/var/tmp" : getenv("TMPDIR");
	auto_free char *text = NULL;
	auto_strv Strv names = { 0 };
	size_t len = 0;

	if (fs_read(plan->file, CONTAINERFILE_MAX, &text, &len, err) < 0)
		return -1;
	if (!strstr(text, "type=cache"))
		return 0;
	strv_push(&names, "buildah-cache");
	strv_pushf(&names, "buildah-cache-%u", (unsigned)getuid());
	for (size_t i = 0; i < names.count; i++) {
		auto_free char *target = path_join(usual, names.items[i]);
		auto_free char *link = path_join(work, names.items[i]);
		auto_error trouble = NULL;

		if (make_own(target, &trouble) < 0) {
			report_warning_error(ctx, &trouble,
					     "keep what RUN --mount=type=cache caches");
			continue;
		}
		if (symlink(target, link) < 0)
			return error_set_errno(err, errno, "link '%s'", link);
	}
	return 0;
}

static int run_build(Context *ctx, const BuildPlan *plan, const char *mark, const char *dir,
		     Error **err)
{
	auto_command Command cmd = { 0 };
	auto_error cause = NULL;
	EngineBuild build = engine_build(plan);
	Listener listener = { .ctx = ctx };
	auto_free char *work = path_join(dir, WORK_DIR);

	if (fs_mkdir(work, 0700, err) < 0 || keep_caches(ctx, plan, work, err) < 0 ||
	    command_init_tool(&cmd, image_engine_name(plan->engine), err) < 0)
		return -1;
	command_add_env(&cmd, "TMPDIR", work);
	image_engine_add_build(plan->engine, &build, mark, &cmd);
	cmd.dir = dir;
	cmd.join_stderr = true;
	cmd.on_line = on_line;
	cmd.on_line_arg = &listener;
	if (command_run(&cmd, DEADLINE_NEVER, &cause) < 0)
		return explain(plan, listener.is_seen, cause, err);
	return fs_remove_tree(work, err);
}

/* docker gives an archive, which skopeo turns into a layout. */
static int unpack_archive(const char *dir, Error **err)
{
	auto_command Command cmd = { 0 };
	auto_free char *archive = path_join(dir, ARCHIVE);

	if (command_init_tool(&cmd, "skopeo", err) < 0)
		return -1;
	command_add(&cmd, "copy");
	command_add(&cmd, "--quiet");
	/* Only to be read once, from the same disk. (Accepting plain layers, it calls them compressed all the same.) */
	command_add(&cmd, "--dest-compress-format=gzip");
	command_add(&cmd, "--dest-compress-level=1");
	command_add(&cmd, "docker-archive:" ARCHIVE);
	/* Named from within: skopeo ends a path at its first colon, and ours have some. */
	command_add(&cmd, "oci:layout:latest");
	cmd.dir = dir;
	if (failpoint("image.build.unpack", err) < 0 || command_run(&cmd, DEADLINE_NEVER, err) < 0)
		return -1;
	return fs_remove(archive, err);
}

/* The image that was built, as `layout` in the working directory. */
static int save(const BuildPlan *plan, const char *dir, Error **err)
{
	auto_command Command cmd = { 0 };
	auto_free char *note = path_join(dir, ID_NOTE);
	auto_free char *id = NULL;
	size_t len = 0;
	bool is_layout;

	if (fs_read(note, ID_MAX, &id, &len, err) < 0)
		return error_wrap(err, "learn the id of the image");
	id[strcspn(id, "\n")] = '\0';
	if (command_init_tool(&cmd, image_engine_name(plan->engine), err) < 0)
		return -1;
	is_layout = image_engine_add_save(plan->engine, id, &cmd);
	cmd.dir = dir;
	if (failpoint("image.build.save", err) < 0 || command_run(&cmd, DEADLINE_NEVER, err) < 0 ||
	    (!is_layout && unpack_archive(dir, err) < 0))
		return error_wrap(err, "take the image out of %s", image_engine_name(plan->engine));
	return fs_remove(note, err);
}

static char *mark_of(const char *id)
{
	return xasprintf("ember-%s", id);
}

int image_containerfile_make(Context *ctx, const BuildPlan *plan, Image *image, const char *dir,
			     Error **err)
{
	const char *name = image_engine_name(plan->engine);
	auto_free char *note = path_join(dir, ENGINE_NOTE);
	auto_free char *layout = path_join(dir, "layout");
	auto_free char *mark = mark_of(image->id);
	ImageSource source = { .layout = layout,
			       .platform = plan->options->platform,
			       .tar_fd = -1 };

	report_step(ctx, "build '%s' with %s", plan->file, name);
	/* What the engine leaves when it is killed can be found only by one who knows that it ran. */
	if (failpoint("image.build.note", err) < 0 ||
	    fs_write_new(note, name, strlen(name), 0600, err) < 0 ||
	    failpoint("image.build.run", err) < 0 || run_build(ctx, plan, mark, dir, err) < 0)
		return -1;
	report_step(ctx, "take the image out of %s", name);
	if (save(plan, dir, err) < 0)
		return -1;
	report_step(ctx, "write image '%s'", image->name);
	if (image_write(ctx, image, &source, err) < 0 ||
	    image_blobs_take(ctx, layout, image->digest, NULL, err) < 0)
		return -1;
	return fs_remove(note, err);
}

void image_containerfile_sweep(Context *ctx, const char *dir, const char *id)
{
	auto_free char *note = path_join(dir, ENGINE_NOTE);
	auto_free char *name = NULL;
	auto_free char *mark = mark_of(id);
	auto_error trouble = NULL;
	const ImageEngine *engine;
	size_t len = 0;

	if (!fs_exists(note))
		return;
	if (fs_read(note, ID_MAX, &name, &len, &trouble) == 0) {
		engine = image_engine_find(name, &trouble);
		if (engine && failpoint("image.build.sweep", &trouble) == 0 &&
		    image_engine_sweep(engine, mark, &trouble) == 0)
			return;
	}
	report_warning_error(ctx, &trouble, "remove what an interrupted build left behind");
}
