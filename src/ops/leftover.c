#include "ops/leftover.h"

#include "ops/image_build.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

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
	if (failpoint("destroy.files", err) < 0)
		return -1;
	return fs_remove_tree(dir, err);
}
