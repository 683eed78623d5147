/*
 * A disk to a tar or an OCI layout. The worker reads the disk and writes to descriptors; where a layout is wanted, its
 * digests come back, and the files get their names here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/commands.h"
#include "image/confine.h"
#include "image/digest.h"
#include "image/events.h"
#include "image/export.h"
#include "image/export_options.h"
#include "image/layout_write.h"
#include "image/oci_write.h"
#include "image/recover.h"
#include "image/root_disk.h"
#include "image/run_document.h"
#include "image/worker.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* What comes back from the worker that writes. Strings that nobody has checked. */
typedef struct Written {
	char digests[LAYOUT_PARTS][80];
	char diff_id[80];
	uint64_t sizes[LAYOUT_PARTS];
	uint64_t entries;
} Written;

typedef struct Job {
	const ExportOptions *options;
	RootDisk disk;
	LayoutWriter layout;
	char *config; /* the text of --run-config, or NULL */
	size_t config_length;
	Written written;
} Job;

static void job_release(Job *job)
{
	root_disk_release(&job->disk);
	layout_writer_release(&job->layout);
	free(job->config);
}

static int mount_clean(const RootDisk *disk, Extfs *fs, Error **err)
{
	if (root_disk_mount(disk, fs, err) < 0)
		return -1;
	if (!fs->needs_recovery)
		return 0;
	if (fs->is_marked)
		error_set(err, ERR_STATE, "the filesystem is marked as damaged");
	else
		error_set(err, ERR_STATE,
			  "the filesystem was not unmounted: its journal is to be replayed first");
	return error_hint(err, "have it repaired first: --recover (which changes the disk)");
}

static int find_run_document(const Job *job, Extfs *fs, ImageConfig *out, Error **err)
{
	int result;

	if (!job->config && run_document_find(fs, out, err) < 0)
		return error_hint(err, "say how to run the image yourself: --run-config FILE");
	if (!job->config)
		return 0;
	result = run_document_parse(job->config, job->config_length, out, err);
	if (result < 0)
		error_wrap(err, "'%s'", job->options->config);
	return result;
}

/* Write a document where it belongs, and tell its digest and size. */
static int write_document(Job *job, LayoutPart part, const char *text, Written *written,
			  Error **err)
{
	auto_free char *digest = NULL;
	Hasher hasher;

	hasher_init(&hasher, NULL);
	hasher_add(&hasher, text, strlen(text));
	digest = hasher_finish(&hasher);
	(void)snprintf(written->digests[part], sizeof(written->digests[part]), "%s", digest);
	written->sizes[part] = strlen(text);
	return fs_write_all(job->layout.fds[part], text, strlen(text), err);
}

static int write_documents(Job *job, const ImageConfig *run, Written *written, Error **err)
{
	const OciFacts facts = {
		.platform = &job->options->platform,
		.created = job->options->created,
		.diff_id = written->diff_id,
		.run = run,
	};
	auto_free char *config = oci_config_text(&facts);
	auto_free char *manifest = NULL;

	if (write_document(job, LAYOUT_CONFIG, config, written, err) < 0)
		return -1;
	manifest = oci_manifest_text(written->digests[LAYOUT_CONFIG], written->sizes[LAYOUT_CONFIG],
				     written->digests[LAYOUT_LAYER], written->sizes[LAYOUT_LAYER],
				     job->options->compression);
	return write_document(job, LAYOUT_MANIFEST, manifest, written, err);
}

static int write_tree(Job *job, Extfs *fs, Written *written, Error **err)
{
	bool is_layer = job->options->layout != NULL;
	int fd = is_layer ? job->layout.fds[LAYOUT_LAYER] : job->options->tar_fd;
	auto_packer Packer *packer = packer_open(fd, job->options->compression);
	auto_packed Packed packed = { 0 };
	ExportPlan plan = {
		.fs = fs,
		.packer = packer,
		.keep_seed = job->options->keep_seed,
		.is_layer = is_layer,
		.on_progress = event_progress,
		.on_warning = event_warning,
	};

	if (export_tree(&plan, &written->entries, err) < 0 ||
	    packer_finish(packer, &packed, err) < 0)
		return root_disk_hint(err);
	(void)snprintf(written->diff_id, sizeof(written->diff_id), "%s", packed.diff_id);
	(void)snprintf(written->digests[LAYOUT_LAYER], sizeof(written->digests[LAYOUT_LAYER]), "%s",
		       packed.digest);
	written->sizes[LAYOUT_LAYER] = packed.size;
	return 0;
}

static int write_all(void *arg, void *report, Error **err)
{
	Job *job = arg;
	Written *written = report;
	auto_extfs Extfs fs = { 0 };
	auto_image_config ImageConfig config = { 0 };

	if (confine_begin(NULL, 0, err) < 0 || confine_finish(err) < 0)
		return -1;
	if (!job->disk.is_found && root_disk_find(&job->disk, err) < 0)
		return -1;
	if (mount_clean(&job->disk, &fs, err) < 0)
		return root_disk_hint(err);
	if (!job->options->layout)
		return write_tree(job, &fs, written, err);
	if (find_run_document(job, &fs, &config, err) < 0 || write_tree(job, &fs, written, err) < 0)
		return -1;
	return write_documents(job, &config, written, err);
}

static bool is_digest(char *text, size_t size)
{
	text[size - 1] = '\0';
	return digest_is_valid(text);
}

/* The worker has read what a stranger wrote: nothing it says is used before it has been looked at. */
static int check_written(Written *written, bool is_layout, Error **err)
{
	bool is_good = is_digest(written->diff_id, sizeof(written->diff_id));

	for (LayoutPart part = LAYOUT_LAYER; part < (is_layout ? LAYOUT_PARTS : LAYOUT_CONFIG);
	     part++)
		is_good &= is_digest(written->digests[part], sizeof(written->digests[part]));
	return is_good ? 0 : error_set(err, ERR_FAILED, "the disk reader's digests are none");
}

static int commit(Job *job, Error **err)
{
	const Written *written = &job->written;
	LayoutEntry entry = {
		.digests = { written->digests[0], written->digests[1], written->digests[2] },
		.manifest_size = written->sizes[LAYOUT_MANIFEST],
		.tag = job->options->tag,
		.platform = &job->options->platform,
	};

	return layout_writer_commit(&job->layout, &entry, err);
}

static void announce(const Job *job)
{
	const Written *written = &job->written;
	bool is_layout = job->options->layout != NULL;
	ExportResult result = {
		.digest = written->digests[is_layout ? LAYOUT_MANIFEST : LAYOUT_LAYER],
		.diff_id = written->diff_id,
		.size_bytes = written->sizes[LAYOUT_LAYER] + written->sizes[LAYOUT_CONFIG] +
			      written->sizes[LAYOUT_MANIFEST],
		.entries = written->entries,
	};

	event_export(&result);
}

static int read_config(Job *job, Error **err)
{
	if (!job->options->config)
		return 0;
	return fs_read(job->options->config, RUN_DOCUMENT_MAX, &job->config, &job->config_length,
		       err);
}

/* 0, or -1 with an Error, or the exit status of what has been announced already. */
static int run(Job *job, Error **err)
{
	Worker writer = {
		.title = "disk reader",
		.run = write_all,
		.arg = job,
		.report = &job->written,
		.report_size = sizeof(job->written),
	};
	int status = 0;

	if (read_config(job, err) < 0 || root_disk_open(&job->disk, job->options, err) < 0)
		return -1;
	if (job->options->recover)
		status = recover_where_needed(job->options->disk, &job->disk, err);
	if (status != 0)
		return status;
	if (job->options->layout && layout_writer_open(&job->layout, job->options->layout, err) < 0)
		return -1;
	if (failpoint("image.disk.read", err) < 0)
		return -1;
	status = worker_run(&writer, err);
	if (status != 0)
		return status;
	if (check_written(&job->written, job->options->layout != NULL, err) < 0 ||
	    (job->options->layout && commit(job, err) < 0))
		return -1;
	announce(job);
	return 0;
}

int command_export(int argc, char *argv[])
{
	auto_export_options ExportOptions options = { 0 };
	auto_error error = NULL;
	CLEANUP(job_release)
	Job job = { .options = &options, .disk = ROOT_DISK_NONE, .layout.fds = { -1, -1, -1 } };
	int status;

	if (export_options_parse(argc, argv, &options, &error) < 0)
		return worker_report(error);
	if (options.help) {
		(void)fputs(export_options_help, stdout);
		return EXIT_SUCCESS;
	}
	status = run(&job, &error);
	return status < 0 ? worker_report(error) : status;
}
