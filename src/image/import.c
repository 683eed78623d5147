#include "image/import.h"

#include <string.h>
#include <time.h>

#include "image/acl_settle.h"
#include "image/digest.h"
#include "image/ext4.h"
#include "image/layers.h"
#include "image/merge.h"
#include "image/seed.h"
#include "util/json.h"
#include "util/mem.h"

#define PROGRESS_INTERVAL_MS 100

typedef struct Progress {
	uint64_t total;
	int64_t last_ms; /* when the last event went out */
} Progress;

typedef struct Import {
	const ImportPlan *plan;
	Tree tree;
	Disk disk;
	LayerContext context;
	Progress progress;
	Strv diff_ids;
	Error *discard_error; /* giving blocks back happens where nobody can be told */
} Import;

static void import_release(Import *import)
{
	tree_release(&import->tree);
	disk_release(&import->disk);
	strv_release(&import->diff_ids);
	strv_release(&import->context.dropped_xattrs);
	error_clear(&import->discard_error);
}

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void on_read(void *arg, uint64_t bytes_read)
{
	Progress *progress = arg;
	int64_t now = now_ms();

	if (now - progress->last_ms < PROGRESS_INTERVAL_MS)
		return;
	progress->last_ms = now;
	event_progress(bytes_read, progress->total);
}

/* A file's last name has gone: its data goes too. */
static void on_inode_release(void *arg, const Inode *inode)
{
	Import *import = arg;

	if (S_ISREG(inode->mode) && !import->discard_error)
		(void)disk_discard(&import->disk, inode, &import->discard_error);
}

static void import_init(Import *import, const ImportPlan *plan)
{
	*import = (Import){ .plan = plan };
	import->progress.total = plan->source->total_bytes;
	tree_init(&import->tree, plan->source->config.created);
	import->tree.on_release = on_inode_release;
	import->tree.on_release_arg = import;
	disk_init(&import->disk, plan->output_fd);
	ext4_plan(&import->disk.map, plan->max_bytes);
	import->context = (LayerContext){
		.disk = &import->disk,
		.max_bytes = plan->max_bytes,
		.on_warning = event_warning,
		.meter = { .bytes_left = plan->max_bytes * IMPORT_STREAM_FACTOR,
			   .on_read = on_read,
			   .arg = &import->progress },
	};
}

static int add_layer(Import *import, const SourceLayer *source, uint16_t number, Error **err)
{
	auto_layer Layer layer = { .number = number, .direct = number == 1 ? &import->tree : NULL };
	auto_free char *diff_id = NULL;
	BlobSpec spec = {
		.fd = source->fd,
		.compression = source->compression,
		.size = source->size,
		.digest = source->digest,
		.diff_id = source->diff_id,
		.bad_blob = import->plan->bad_blob,
		.deflate = import->plan->deflate,
	};

	if (layer_stream(&import->context, &spec, &layer, &diff_id, err) < 0 ||
	    merge_layer(&import->tree, &layer, err) < 0) {
		error_wrap(err, "layer '%s'", source->name);
		return error_hint(err, "the image is damaged or means harm: get it again, from a "
				       "source you trust");
	}
	if (import->discard_error) {
		error_move(err, &import->discard_error);
		return -1;
	}
	strv_push_take(&import->diff_ids, steal(&diff_id));
	return 0;
}

/* An image that has no manifest is named by what it is made of. */
static char *digest_of(const Import *import)
{
	const Source *source = import->plan->source;
	Hasher hasher;

	if (source->digest)
		return xstrdup(source->digest);
	hasher_init(&hasher, NULL);
	for (size_t i = 0; i < import->diff_ids.count; i++) {
		hasher_add(&hasher, import->diff_ids.items[i], strlen(import->diff_ids.items[i]));
		hasher_add(&hasher, "\n", 1);
	}
	return hasher_finish(&hasher);
}

/* A UUID that says which content it is: RFC 9562, version 8. */
static void make_uuid(const char *digest, uint8_t out[16])
{
	uint8_t hash[32];

	digest_sha256(digest, strlen(digest), hash);
	memcpy(out, hash, 16);
	out[6] = (uint8_t)((out[6] & 0x0f) | 0x80);
	out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}

static int seed(Import *import, const json_t *run_document, Error **err)
{
	auto_free char *text = json_text(run_document);
	auto_free char *line = xasprintf("%s\n", text);
	SeedOptions options = {
		.guest_fd = import->plan->guest_fd,
		.run_document = line,
		.layer_number = (uint16_t)(import->plan->source->count + 1),
	};

	return seed_tree(&import->tree, &import->disk, &options, err);
}

int import_run(const ImportPlan *plan, ImportResult *out_result, Error **err)
{
	CLEANUP(import_release) Import import;
	auto_result ImportResult result = { 0 };
	Ext4Params params = { .max_bytes = plan->max_bytes, .time = plan->source->config.created };

	import_init(&import, plan);
	for (size_t i = 0; i < plan->source->count; i++)
		if (add_layer(&import, &plan->source->layers[i], (uint16_t)(i + 1), err) < 0)
			return -1;
	event_progress(import.context.meter.bytes_read, import.progress.total);

	result.config = image_config_to_json(&plan->source->config.run);
	result.has_init = seed_has_init(&import.tree);
	if (acl_settle(&import.tree, &import.disk, event_warning, err) < 0)
		return -1;
	if (plan->seed && seed(&import, result.config, err) < 0)
		return -1;
	result.entries = import.tree.node_count;
	result.digest = digest_of(&import);
	result.reference = xstrdup_null(plan->source->reference);
	make_uuid(result.digest, params.uuid);
	if (ext4_write(&import.disk, &import.tree, &params, &result.size_bytes, err) < 0)
		return -1;
	*out_result = result;
	result = (ImportResult){ 0 };
	return 0;
}
