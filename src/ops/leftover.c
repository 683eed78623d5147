#include "ops/leftover.h"

#include <string.h>

#include "ops/image_build.h"
#include "state/kernels.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* tmp/kernel:NAME has a second place, where it is compiled. */
static int destroy_work(Context *ctx, const char *dir, Error **err)
{
	static const char kind[] = "kernel:";
	const char *entry = path_basename(dir);
	auto_free char *name = NULL;
	auto_free char *work = NULL;

	if (!str_starts_with(entry, kind))
		return 0;
	entry += sizeof(kind) - 1;
	name = xstrndup(entry, strcspn(entry, ":"));
	work = kernels_work_dir(&ctx->store, name);
	return fs_remove_tree(work, err);
}

/* What the VM or image of that name has: never a part of what is left of a change to it, whatever a record there says. */
static void read_claimed(const Context *ctx, const char *dir, Strv *out_volumes)
{
	const char *colon = strchr(path_basename(dir), ':');
	auto_free char *name = colon ? xstrndup(colon + 1, strcspn(colon + 1, ":")) : NULL;
	auto_free char *vm_dir = NULL;
	auto_free char *image_dir = NULL;

	if (!name)
		return;
	vm_dir = store_vm_dir(&ctx->store, name);
	image_dir = store_image_dir(&ctx->store, name);
	records_read_volumes_at(vm_dir, out_volumes);
	records_read_volumes_at(image_dir, out_volumes);
}

static int destroy_volumes(Context *ctx, const char *dir, Error **err)
{
	auto_strv Strv volumes = { 0 };
	auto_strv Strv claimed = { 0 };

	records_read_volumes_at(dir, &volumes);
	if (!volumes.count)
		return 0;
	read_claimed(ctx, dir, &claimed);
	if (context_open_storage(ctx, err) < 0)
		return -1;
	for (size_t i = 0; i < volumes.count; i++) {
		const char *volume = volumes.items[i];

		if (strv_has(&claimed, volume))
			report_warning(ctx, "kept volume '%s', which is still in use", volume);
		else if (failpoint("destroy.volume", err) < 0 ||
			 ctx->storage->destroy(ctx->pool, volume, err) < 0)
			return -1;
	}
	return 0;
}

/* What is left here may have been replaced or hidden by a change that a power cut can still undo, see change_end(). */
static int sync_owner(const Context *ctx, const char *dir, Error **err)
{
	const char *entry = path_basename(dir);
	const char *colon = strchr(entry, ':');
	auto_free char *kind = NULL;
	auto_free char *name = NULL;
	auto_free char *all = NULL;
	auto_free char *owner = NULL;
	auto_free char *snapshots = NULL;

	if (!colon)
		return 0;
	kind = xasprintf("%.*ss", (int)(colon - entry), entry);
	name = xstrndup(colon + 1, strcspn(colon + 1, ":"));
	all = store_path(&ctx->store, kind);
	owner = path_join(all, name);
	if (!fs_exists(all))
		return 0;
	/* The directory of a VM's snapshots is where one of them was hidden. */
	snapshots = path_join(owner, "snapshots");
	if (failpoint("destroy.sync", err) < 0 || fs_sync_path(all, err) < 0 ||
	    (fs_exists(owner) && fs_sync_path(owner, err) < 0))
		return -1;
	return fs_exists(snapshots) ? fs_sync_path(snapshots, err) : 0;
}

/* tmp/KIND:NAME:ID8 is something made of a VM that is there, whose sockets are its own. */
static bool is_work_dir(const char *dir)
{
	auto_free char *parent = path_dirname(dir);
	const char *colon = strchr(path_basename(dir), ':');

	return !strcmp(path_basename(parent), "tmp") && colon && strchr(colon + 1, ':');
}

int leftover_destroy(Context *ctx, const char *dir, Error **err)
{
	auto_free char *id = NULL;

	if (!fs_exists(dir))
		return 0;
	id = records_read_id_at(dir);
	if (id)
		image_containerfile_sweep(ctx, dir, id);
	if (sync_owner(ctx, dir, err) < 0 || destroy_volumes(ctx, dir, err) < 0 ||
	    (id && !is_work_dir(dir) && store_remove_run_dir(&ctx->store, id, err) < 0))
		return -1;
	/* The record goes last, with everything else: until then it can be tried again. */
	if (failpoint("destroy.files", err) < 0 || destroy_work(ctx, dir, err) < 0)
		return -1;
	return fs_remove_tree(dir, err);
}
