#include "ops/system.h"
#include "ops/vm.h"
#include "state/records.h"
#include "util/fs.h"
#include "util/mem.h"

int ops_info(Context *ctx, SystemInfo *out_info, Error **err)
{
	SystemInfo info = { 0 };
	auto_vm_list VmList vms = { 0 };
	auto_image_list ImageList images = { 0 };

	if (context_load(ctx, err) < 0 || ops_vm_list(ctx, &vms, err) < 0 ||
	    records_list_images(&ctx->store, &images, err) < 0)
		return -1;
	info.vms = vms.count;
	info.images = images.count;
	for (size_t i = 0; i < vms.count; i++)
		if (vm_state_is_live(vms.items[i].state))
			info.vms_running++;
	/* Best effort: a store that is not mounted, or not ours to mount, has no figures. */
	info.has_capacity = context_open_storage(ctx, NULL) == 0 &&
			    ctx->storage->capacity(ctx->pool, &info.capacity, NULL) == 0;
	*out_info = info;
	return 0;
}
