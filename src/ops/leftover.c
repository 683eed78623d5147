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

int leftover_destroy(Context *ctx, const char *dir, Error **err)
{
	auto_free char *id = NULL;

	if (!fs_exists(dir))
		return 0;
	id = records_read_id_at(dir);
	if (id) {
		image_containerfile_sweep(ctx, dir, id);
		if (context_open_storage(ctx, err) < 0 || failpoint("destroy.volume", err) < 0 ||
		    ctx->storage->destroy(ctx->pool, id, err) < 0 ||
		    store_remove_run_dir(&ctx->store, id, err) < 0)
			return -1;
	}
	/* The record goes last, with everything else: until then it can be tried again. */
	if (failpoint("destroy.files", err) < 0 || destroy_work(ctx, dir, err) < 0)
		return -1;
	return fs_remove_tree(dir, err);
}
