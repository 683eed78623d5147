/*
 * ember-image: an OCI image, or plain tars, to an ext4 root disk.
 *
 * Two processes. The one that was started opens the files, waits, and cleans up: it never looks at what the image says.
 * Its child gives up every privilege and does the work; if it is killed, crashes or fails, the output is removed all the
 * same.
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/confine.h"
#include "image/events.h"
#include "image/import.h"
#include "image/options.h"
#include "image/source.h"
#include "util/failpoint.h"
#include "util/mem.h"

/* What is opened before any privilege is given up. */
typedef struct Files {
	int layout_fd;
	int blobs_fd;
	int config_fd;
	int guest_fd;
	int output_fd;
	Source source;	/* its tars, if there are any */
	char *bad_blob; /* digest of the blob that is to blame for a failure, or NULL */
} Files;

static void files_release(Files *files)
{
	close_fd(&files->layout_fd);
	close_fd(&files->blobs_fd);
	close_fd(&files->config_fd);
	close_fd(&files->guest_fd);
	close_fd(&files->output_fd);
	source_release(&files->source);
	free(steal(&files->bad_blob));
}

static int open_input(const char *path, int flags, int *out_fd, Error **err)
{
	if (!path)
		return 0;
	*out_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | flags);
	if (*out_fd >= 0)
		return 0;
	error_set_errno(err, errno, "open '%s'", path);
	return error_hint(err, "see what is there: ls -l '%s'", path);
}

static int open_inputs(const Options *options, Files *files, Error **err)
{
	if (open_input(options->layout, O_DIRECTORY, &files->layout_fd, err) < 0 ||
	    open_input(options->blobs, O_DIRECTORY, &files->blobs_fd, err) < 0 ||
	    open_input(options->config, 0, &files->config_fd, err) < 0 ||
	    open_input(options->guest, 0, &files->guest_fd, err) < 0)
		return -1;
	for (size_t i = 0; i < options->tars.count; i++) {
		const char *path = options->tars.items[i];
		int fd = -1;

		if (!strcmp(path, "-"))
			fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
		else if (open_input(path, 0, &fd, err) < 0)
			return -1;
		if (source_add_tar(&files->source, fd, path, err) < 0)
			return -1;
	}
	return 0;
}

static int open_output(const Options *options, Files *files, Error **err)
{
	if (failpoint("image.file.create", err) < 0)
		return -1;
	files->output_fd =
		open(options->output, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (files->output_fd >= 0)
		return 0;
	error_set_errno(err, errno, "create '%s'", options->output);
	return error_hint(err, errno == EEXIST ? "remove it, or choose another --output"
					       : "choose another --output");
}

static int read_config(Files *files, Error **err)
{
	auto_free char *text = xmalloc(OCI_MAX_DOCUMENT + 1);
	size_t length = 0;

	while (length <= OCI_MAX_DOCUMENT) {
		ssize_t part = read(files->config_fd, text + length, OCI_MAX_DOCUMENT + 1 - length);

		if (part < 0 && errno == EINTR)
			continue;
		if (part < 0)
			return error_set_errno(err, errno, "read the config");
		if (part == 0)
			return source_set_config(&files->source, text, length, err);
		length += (size_t)part;
	}
	return error_set(err, ERR_UNSUPPORTED, "the config is larger than 4 MiB");
}

static int find_source(const Options *options, Files *files, Error **err)
{
	LayoutOptions layout = {
		.dir_fd = files->layout_fd,
		.blobs_fd = files->blobs_fd,
		.name = options->layout,
		.tag = options->tag,
		.platform = &options->platform,
		.bad_blob = &files->bad_blob,
	};

	if (options->layout)
		return source_open_layout(&layout, &files->source, err);
	if (files->config_fd >= 0 && read_config(files, err) < 0)
		return error_wrap(err, "config '%s'", options->config);
	return 0;
}

static int build(const Options *options, Files *files, Error **err)
{
	const int readable[] = { files->layout_fd, files->blobs_fd };
	auto_result ImportResult result = { 0 };
	ImportPlan plan = {
		.source = &files->source,
		.output_fd = files->output_fd,
		.guest_fd = files->guest_fd,
		.seed = !options->no_seed,
		.max_bytes = options->max_bytes,
		.bad_blob = &files->bad_blob,
		.deflate = options->deflate,
	};

	/* libarchive turns names into the locale's characters: this one has room for all. */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	if (confine_begin(readable, ARRAY_SIZE(readable), err) < 0)
		return -1;
	if (find_source(options, files, err) < 0) {
		error_hint(err, "the image is damaged or means harm: get it again, from a source "
				"you trust");
		return -1;
	}
	if (confine_finish(err) < 0 || import_run(&plan, &result, err) < 0)
		return -1;
	event_result(&result);
	return 0;
}

static int report(const Error *error, const char *bad_blob)
{
	event_error(error, bad_blob);
	return error_exit_status(error_code(error));
}

static int work(const Options *options, Files *files, pid_t parent)
{
	auto_error error = NULL;

	if (getppid() != parent)
		return EXIT_FAILURE;
	/* When nobody reads its events any more, nobody wants its image either. */
	(void)signal(SIGPIPE, SIG_DFL);
	return build(options, files, &error) < 0 ? report(error, files->bad_blob) : EXIT_SUCCESS;
}

/* Wait for the worker. Returns its exit status, or that of an interrupt or crash once it has been announced. */
static int watch(pid_t worker, const sigset_t *signals)
{
	auto_error error = NULL;
	int status = 0;
	bool canceled = false;

	while (waitpid(worker, &status, WNOHANG) == 0) {
		int signum = sigwaitinfo(signals, NULL);

		if (signum > 0 && signum != SIGCHLD) {
			canceled = true;
			(void)kill(worker, SIGKILL);
			(void)waitpid(worker, &status, 0);
			break;
		}
	}
	if (!canceled && WIFEXITED(status))
		return WEXITSTATUS(status);
	canceled = canceled || WTERMSIG(status) == SIGPIPE;
	if (canceled) {
		error_set(&error, ERR_CANCELED, "interrupted");
		error_hint(&error, "nothing was left behind; run it again when ready");
	} else {
		error_set(&error, ERR_FAILED, "the image builder was killed by signal %d",
			  WTERMSIG(status));
		error_hint(&error, "see whether memory ran out: dmesg | tail");
	}
	return report(error, NULL);
}

/* Start the worker and see it through; the signals that matter are blocked before there is anything to lose. */
static int supervise(const Options *options, Files *files, Error **err)
{
	pid_t parent = getpid();
	sigset_t signals;
	pid_t worker;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGHUP);
	(void)sigaddset(&signals, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	if (failpoint("image.file.build", err) < 0)
		return -1;
	worker = fork();
	if (worker < 0)
		return error_set_errno(err, errno, "start the builder");
	if (worker == 0) {
		int status = work(options, files, parent);

		files_release(files);
		_exit(status);
	}
	return watch(worker, &signals);
}

static int run(const Options *options, Error **err)
{
	CLEANUP(files_release) Files files = { -1, -1, -1, -1, -1, { 0 }, NULL };
	int status;

	if (open_inputs(options, &files, err) < 0 || open_output(options, &files, err) < 0)
		return -1;
	status = supervise(options, &files, err);
	if (status != EXIT_SUCCESS)
		(void)unlink(options->output);
	return status;
}

int main(int argc, char *argv[])
{
	auto_options Options options = { 0 };
	auto_error error = NULL;
	int status;

	/* Whoever started this waits for it: nobody wants the image of one that was killed. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (options_parse(argc, argv, &options, &error) < 0)
		return report(error, NULL);
	if (options.help || options.version) {
		(void)fputs(options.help ? options_help : "ember-image " EMBER_VERSION "\n",
			    stdout);
		return EXIT_SUCCESS;
	}
	status = run(&options, &error);
	return status < 0 ? report(error, NULL) : status;
}
