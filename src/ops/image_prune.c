/*
 * Getting space back: the blob cache, and images that no VM was made from.
 */
#include "ops/image.h"
#include "ops/image_blobs.h"
#include "ops/reconcile.h"
#include "ops/usage.h"
#include "state/records.h"
#include "util/mem.h"

/* As long as any other operation waits for a lock. */
#define PATIENCE_MS 3000

void prune_report_release(PruneReport *report)
{
	strv_release(&report->images);
	*report = (PruneReport){ 0 };
}

uint64_t prune_bytes(const PruneReport *report)
{
	return usage_sum(report->image_bytes, report->blob_bytes);
}

/* What would be free without it. Two images that share blocks with each other only: when the first
 * is gone, they are the other's own. */
static uint64_t bytes_of_its_own(Context *ctx, const char *name)
{
	auto_usage_report UsageReport usage = { 0 };

	ops_usage_peek(ctx, &usage);
	return usage_find(&usage, USAGE_IMAGE, name).exclusive;
}

/* One that somebody copies from right now, renames or replaces, is in use. */
static int prune_image(Context *ctx, const char *name, bool dry_run, PruneReport *report,
		       Error **err)
{
	auto_image Image image = { 0 };
	auto_strv Strv users = { 0 };
	auto_fd lock = -1;
	uint64_t bytes;
	int got = store_lock(&ctx->store, "image", name, LOCK_EXCLUSIVE, DEADLINE_NOW, &lock, err);

	if (got <= 0)
		return got;
	/* Gone meanwhile, or broken: what it was cannot be told, so it is not ours to judge. */
	if (records_read_image(&ctx->store, name, &image, NULL) < 0)
		return 0;
	if (image_users(ctx, &image, &users, err) < 0)
		return -1;
	if (users.count)
		return 0;
	bytes = bytes_of_its_own(ctx, name);
	if (!dry_run && image_delete_locked(ctx, name, image.id, err) < 0)
		return -1;
	strv_push(&report->images, name);
	report->image_bytes = usage_sum(report->image_bytes, bytes);
	return 0;
}

static int prune_images(Context *ctx, bool dry_run, PruneReport *report, Error **err)
{
	auto_image_list ImageList images = { 0 };

	if (records_list_images(&ctx->store, &images, err) < 0)
		return -1;
	for (size_t i = 0; i < images.count; i++)
		if (prune_image(ctx, images.items[i].name, dry_run, report, err) < 0)
			return -1;
	return 0;
}

static int lock_blobs(Context *ctx, int *out_lock, Error **err)
{
	int got = store_lock(&ctx->store, "store", "blobs", LOCK_EXCLUSIVE,
			     deadline_in_ms(PATIENCE_MS), out_lock, err);

	if (got != 0)
		return got < 0 ? -1 : 0;
	error_set(err, ERR_BUSY, "the blob cache is busy: an image is being pulled or pushed");
	return error_hint(err, "wait for it to finish, then try again: ember image prune");
}

int ops_image_prune(Context *ctx, bool only_blobs, bool dry_run, PruneReport *out_report,
		    Error **err)
{
	auto_prune_report PruneReport report = { 0 };
	auto_fd lock = -1;

	if (change_begin(ctx, err) < 0 || (!dry_run && lock_blobs(ctx, &lock, err) < 0) ||
	    (!only_blobs && prune_images(ctx, dry_run, &report, err) < 0) ||
	    image_blobs_usage(ctx, &report.blobs, &report.blob_bytes, err) < 0 ||
	    (!dry_run && image_blobs_clear(ctx, err) < 0))
		return error_wrap(err, "prune images");
	*out_report = report;
	report = (PruneReport){ 0 };
	return 0;
}
