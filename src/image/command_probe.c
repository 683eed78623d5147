/*
 * What is on a disk?
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "image/commands.h"
#include "image/confine.h"
#include "image/events.h"
#include "image/export_options.h"
#include "image/recover.h"
#include "image/root_disk.h"
#include "image/run_document.h"
#include "image/worker.h"
#include "util/mem.h"

#define OWN_INODES 10u /* used by ext4 itself, and counted as files */

/* A document that cannot be read is none: the disk is no worse for it. */
static json_t *find_config(Extfs *fs)
{
	auto_error error = NULL;
	auto_image_config ImageConfig config = { 0 };
	int found = run_document_find(fs, &config, &error);

	if (found < 0) {
		auto_free char *sentence = error_sentence(error);

		event_warning(sentence);
	}
	return found > 0 ? image_config_to_json(&config) : NULL;
}

static int work(void *arg, void *report, Error **err)
{
	RootDisk *disk = arg;
	auto_extfs Extfs fs = { 0 };
	ProbeResult result = { 0 };
	uint32_t used;

	(void)report;
	if (confine_begin(NULL, 0, err) < 0 || confine_finish(err) < 0 ||
	    root_disk_find(disk, err) < 0)
		return -1;
	if (root_disk_mount(disk, &fs, err) < 0)
		return root_disk_hint(err);
	used = fs.inode_count - (uint32_t)fs.free_inodes;
	result = (ProbeResult){
		.offset = disk->place.offset,
		.size_bytes = fs.block_count * fs.block_size,
		.used_bytes = extfs_used_bytes(&fs),
		.entries = used > OWN_INODES ? used - OWN_INODES : 0,
		.needs_recovery = fs.needs_recovery,
		.config = find_config(&fs),
	};
	event_probe(&result);
	json_decref(result.config);
	return 0;
}

int command_probe(int argc, char *argv[])
{
	auto_export_options ExportOptions options = { 0 };
	auto_root_disk RootDisk disk = ROOT_DISK_NONE;
	auto_error error = NULL;
	Worker worker = { .title = "disk reader", .run = work, .arg = &disk };
	int status = 0;

	if (probe_options_parse(argc, argv, &options, &error) < 0)
		return worker_report(error);
	if (options.help) {
		(void)fputs(probe_options_help, stdout);
		return EXIT_SUCCESS;
	}
	if (root_disk_open(&disk, &options, &error) < 0)
		return worker_report(error);
	if (options.recover)
		status = recover_where_needed(options.disk, &disk, &error);
	if (status == 0)
		status = worker_run(&worker, &error);
	return status < 0 ? worker_report(error) : status;
}
