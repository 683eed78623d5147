#include "ops/vm_live.h"

#include "ops/vm_process.h"

#define STATUS_MS 5000
/* It flushes what is in its caches first. */
#define SWITCH_MS 60000

static int switch_to(void *arg, const StorageDisk *overlay, Error **err)
{
	return client_disk_switch(arg, overlay->path, deadline_in_ms(SWITCH_MS), err);
}

int live_disk_open(Context *ctx, const Vm *vm, LiveDisk *out_disk, Error **err)
{
	auto_vm_status VmStatus status = { 0 };
	auto_client client = NULL;

	if (context_open_storage(ctx, err) < 0 || vm_process_connect(ctx, vm, &client, err) < 0 ||
	    client_status(client, deadline_in_ms(STATUS_MS), &status, err) < 0)
		return -1;
	/* Copies are made of layers where a disk has a format. */
	if (ctx->storage->copy_out && !status.can_switch_disk) {
		error_set(err, ERR_UNSUPPORTED,
			  "vm '%s' was started by an ember that cannot copy a disk in use",
			  vm->name);
		return error_hint(err, "start it anew: ember vm restart %s", vm->name);
	}
	*out_disk =
		(LiveDisk){ .client = client, .live = { .arg = client, .switch_to = switch_to } };
	client = NULL;
	return 0;
}

void live_disk_release(LiveDisk *disk)
{
	client_close(disk->client);
	*disk = (LiveDisk){ 0 };
}
