/*
 * An OCI image, or plain tars, to an ext4 root disk. Whatever happens to the worker, an output that is not whole is
 * removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/commands.h"
#include "image/confine.h"
#include "image/events.h"
#include "image/import.h"
#include "image/options.h"
#include "image/run_document.h"
#include "image/source.h"
#include "image/worker.h"
#include "util/failpoint.h"
#include "util/fs.h"
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

static const char *config_name(const Options *options)
{
	return options->run_config ? options->run_config : options->config;
}

static int open_inputs(const Options *options, Files *files, Error **err)
{
	if (open_input(options->layout, O_DIRECTORY, &files->layout_fd, err) < 0 ||
	    open_input(options->blobs, O_DIRECTORY, &files->blobs_fd, err) < 0 ||
	    open_input(config_name(options), 0, &files->config_fd, err) < 0 ||
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

static int read_config(const Options *options, Files *files, Error **err)
{
	auto_free char *text = xmalloc(OCI_MAX_DOCUMENT + 1);
	size_t length;

	if (fs_read_full(files->config_fd, text, OCI_MAX_DOCUMENT + 1, &length, err) < 0)
		return error_wrap(err, "read the config");
	if (length > OCI_MAX_DOCUMENT)
		return error_set(err, ERR_UNSUPPORTED, "the config is larger than 4 MiB");
	if (options->run_config)
		return run_document_parse(text, length, &files->source.config.run, err);
	return source_set_config(&files->source, text, length, err);
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
	if (files->config_fd < 0 || read_config(options, files, err) == 0)
		return 0;
	if (options->run_config)
		return error_wrap(err, "'%s' is not an image.json", options->run_config);
	/* The user's own file, not one that came from afar. */
	error_recode(err, ERR_USAGE);
	error_hint(err, "write one like: skopeo inspect --config docker://debian:12");
	return error_wrap(err, "config '%s' is not an OCI image config", options->config);
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

typedef struct Job {
	const Options *options;
	Files *files;
} Job;

static int work(void *arg, void *report, Error **err)
{
	Job *job = arg;

	(void)report;
	return build(job->options, job->files, err);
}

static int run(const Options *options, Error **err)
{
	CLEANUP(files_release) Files files = { -1, -1, -1, -1, -1, { 0 }, NULL };
	Job job = { options, &files };
	Worker worker = {
		.title = "image builder",
		.run = work,
		.arg = &job,
		.bad_blob = &files.bad_blob,
	};
	int status = -1;

	if (open_inputs(options, &files, err) < 0)
		return -1;
	worker_hold_signals();
	if (open_output(options, &files, err) < 0)
		return -1;
	if (failpoint("image.file.build", err) == 0)
		status = worker_run(&worker, err);
	if (status != EXIT_SUCCESS)
		(void)unlink(options->output);
	return status;
}

int command_import(int argc, char *argv[])
{
	auto_options Options options = { 0 };
	auto_error error = NULL;
	int status;

	if (options_parse(argc, argv, &options, &error) < 0)
		return worker_report(error);
	if (options.help || options.version) {
		(void)fputs(options.help ? options_help : "ember-image " EMBER_VERSION "\n",
			    stdout);
		return EXIT_SUCCESS;
	}
	status = run(&options, &error);
	return status < 0 ? worker_report(error) : status;
}
