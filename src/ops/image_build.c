/*
 * The built-in Debian image: mmdebstrap's tar goes straight into the image writer, no container engine and no temporary
 * root.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/size.h"
#include "model/uuid.h"
#include "ops/image.h"
#include "ops/image_make.h"
#include "ops/reconcile.h"
#include "state/records.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"
#include "util/process.h"

#define DEFAULT_SUITE	    "bookworm"
#define DEFAULT_VARIANT	    "minbase"
#define LOG_TAIL_MAX	    2000
#define VERDICT_PATIENCE_MS 300

static int check_options(const char *name, const BuildOptions *options, Error **err)
{
	if (name_check("image", name, err) < 0)
		return -1;
	if (options->variant && strcmp(options->variant, DEFAULT_VARIANT) != 0) {
		error_set(err, ERR_USAGE, "--variant: '%s' is unknown", options->variant);
		return error_hint(err, "the built-in variant is --variant " DEFAULT_VARIANT);
	}
	return 0;
}

/* mmdebstrap takes a signal to itself for one that its children got too, and waits for them. So a shell leads the
 * session and passes on to all of them the SIGTERM that it gets when we die, or from us. */
#define LEADER "trap 'trap \"\" TERM; kill -s TERM 0; wait $!; exit 143' TERM; \"$@\" & wait $!"

static int start_debootstrap(const BuildOptions *options, int tar_fd, int log_fd, pid_t *out_pid,
			     Error **err)
{
	static const char *const words[] = {
		"sh",
		"-c",
		LEADER,
		"sh",
		"mmdebstrap",
		"--quiet",
		"--format=tar",
		("--variant=" DEFAULT_VARIANT),
		/* documentation and translations of an image that nobody reads in; copyright files stay */
		"--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
		"--dpkgopt=path-exclude=/usr/share/doc/*",
		"--dpkgopt=path-include=/usr/share/doc/*/copyright",
	};
	auto_command Command cmd = { 0 };

	if (image_tool_init(&cmd, "mmdebstrap", err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		command_add(&cmd, words[i]);
	command_add(&cmd, options->suite ? options->suite : DEFAULT_SUITE);
	command_add(&cmd, "-");
	if (options->mirror)
		command_add(&cmd, options->mirror);
	cmd.stdout_fd = tar_fd;
	cmd.stderr_fd = log_fd;
	cmd.new_session = true; /* so that it and its children can be ended together */
	return command_spawn(&cmd, out_pid, err);
}

/* Its verdict matters more than the writer's: a root that ends early is often a download that failed. */
static int finish_debootstrap(pid_t pid, bool stop_it, const char *log, Error **err)
{
	auto_free char *text = NULL;
	size_t len = 0;
	int raw = 0;

	if (stop_it)
		(void)kill(-pid, SIGTERM);
	while (waitpid(pid, &raw, 0) < 0 && errno == EINTR)
		continue;
	if (stop_it || (WIFEXITED(raw) && WEXITSTATUS(raw) == 0))
		return 0;
	error_set(err, ERR_FAILED, "mmdebstrap could not make the Debian root");
	if (fs_read(log, 1U << 20, &text, &len, NULL) == 0)
		error_detail(err, text + (len > LOG_TAIL_MAX ? len - LOG_TAIL_MAX : 0));
	return error_hint(err, "see whether packages can be fetched: apt-get update");
}

/* The writer has failed: did mmdebstrap fail before it, so that the tar ended early? We still hold the pipe's end: a
 * mmdebstrap that has only lost its reader waits there. */
static bool has_ended(pid_t pid)
{
	auto_fd process = os_process_fd(pid);
	struct pollfd poll_fd = { .fd = process, .events = POLLIN };

	return poll(&poll_fd, 1, VERDICT_PATIENCE_MS) > 0;
}

static int make(Context *ctx, Image *image, const BuildOptions *options, Error **err)
{
	auto_free char *dir = NULL;
	auto_free char *log = NULL;
	auto_fd log_fd = -1;
	auto_fd read_end = -1;
	auto_fd write_end = -1;
	ImageSource source = { 0 };
	auto_error builder = NULL;
	bool stop_it;
	int ends[2], result;
	pid_t pid;

	if (image_begin(ctx, image, &dir, err) < 0)
		return -1;
	log = path_join(dir, "mmdebstrap.log");
	log_fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (log_fd < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "prepare the build");
	read_end = ends[0];
	write_end = ends[1];
	report_step(ctx, "fetch Debian packages and write image '%s'", image->name);
	if (start_debootstrap(options, write_end, log_fd, &pid, err) < 0)
		return -1;
	close_fd(&write_end);
	source.tar_fd = read_end;
	result = image_write(ctx, image, &source, err);
	stop_it = result < 0 && (error_code(err ? *err : NULL) == ERR_CANCELED || !has_ended(pid));
	close_fd(&read_end);
	if (finish_debootstrap(pid, stop_it, log, &builder) < 0) {
		if (result < 0 && err)
			error_clear(err);
		error_move(err, &builder);
		return -1;
	}
	if (result < 0 || fs_remove(log, err) < 0)
		return -1;
	return image_commit(ctx, image, dir, false, err);
}

int ops_image_build(Context *ctx, const char *name, const BuildOptions *options, Image *out_image,
		    bool *out_existed, Error **err)
{
	auto_image Image image = { 0 };
	auto_free char *dir = NULL;
	auto_free char *program = NULL;
	auto_fd lock = -1;

	if (check_options(name, options, err) < 0)
		return -1;
	program = program_find("mmdebstrap");
	if (!program) {
		error_set(err, ERR_MISSING_TOOL, "'mmdebstrap' is not installed");
		return error_hint(err, "install it: apt-get install mmdebstrap");
	}
	if (context_load_or_init(ctx, err) < 0 || change_begin(ctx, err) < 0 ||
	    store_lock_op(&ctx->store, "image", name, &lock, err) < 0)
		return -1;
	dir = store_image_dir(&ctx->store, name);
	*out_existed = fs_exists(dir);
	if (*out_existed)
		return records_read_image(&ctx->store, name, out_image, err);
	image.name = xstrdup(name);
	image.id = uuid_new();
	image.reference = xasprintf("local:%s", name);
	image.arch = xstrdup(os_machine());
	image.created_at = time_text_now();
	if (make(ctx, &image, options, err) < 0) {
		image_undo(ctx, name);
		return error_wrap(err, "build image '%s'", name);
	}
	report_done(ctx);
	*out_image = image;
	image = (Image){ 0 };
	return 0;
}
