#include "ops/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "model/size.h"
#include "model/uuid.h"
#include "ops/image_helper.h"
#include "ops/leftover.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* The superblock, as Documentation/filesystems/ext4/super.rst in the Linux sources has it. */
#define SUPER_OFFSET	     1024
#define SUPER_MAGIC	     0x38
#define SUPER_STATE	     0x3a
#define SUPER_INCOMPATIBLE   0x60
#define EXT4_MAGIC	     0xef53
#define STATE_ERROR	     0x2
#define INCOMPATIBLE_RECOVER 0x4

int disk_look(const char *path, DiskState *out_state, Error **err)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	unsigned char super[128];
	ssize_t got;

	if (fd < 0)
		return error_set_errno(err, errno, "open the disk '%s'", path);
	got = pread(fd, super, sizeof(super), SUPER_OFFSET);
	if (got < 0)
		return error_set_errno(err, errno, "read the disk '%s'", path);
	if ((size_t)got < sizeof(super) ||
	    (super[SUPER_MAGIC] | super[SUPER_MAGIC + 1] << 8) != EXT4_MAGIC)
		*out_state = DISK_FOREIGN;
	else if (super[SUPER_INCOMPATIBLE] & INCOMPATIBLE_RECOVER ||
		 super[SUPER_STATE] & STATE_ERROR)
		*out_state = DISK_DIRTY;
	else
		*out_state = DISK_CLEAN;
	return 0;
}

void disk_facts_release(DiskFacts *facts)
{
	image_config_release(&facts->config);
}

int disk_probe(Context *ctx, const char *path, DiskFacts *out_facts, Error **err)
{
	auto_command Command cmd = { 0 };
	auto_disk_facts DiskFacts facts = { 0 };
	json_auto_t *result = NULL;
	const json_t *config = NULL;

	if (image_helper_init(&cmd, err) < 0)
		return -1;
	command_add(&cmd, "probe");
	command_addf(&cmd, "--disk=%s", path);
	if (image_helper_run(ctx, &cmd, 0, &result, NULL, err) < 0 ||
	    json_get_u64_opt(result, "offset", INT64_MAX, &facts.offset, err) < 0 ||
	    json_get_u64_opt(result, "used_bytes", INT64_MAX, &facts.used_bytes, err) < 0 ||
	    json_get_bool_opt(result, "needs_recovery", &facts.needs_recovery, err) < 0 ||
	    json_get_object_opt(result, "config", &config, err) < 0)
		return -1;
	/* What a stranger's disk says about running it is a convenience, no more. */
	if (config && image_config_from_json(config, &facts.config, NULL) < 0)
		image_config_release(&facts.config);
	*out_facts = facts;
	facts = (DiskFacts){ 0 };
	return 0;
}

int disk_recover(Context *ctx, const char *path, Error **err)
{
	auto_command Command cmd = { 0 };
	json_auto_t *result = NULL;

	/* The guest has had its hands on every byte of it: ember-image keeps e2fsck from everything else. */
	if (image_helper_init(&cmd, err) < 0)
		return -1;
	command_add(&cmd, "probe");
	command_add(&cmd, "--recover");
	command_addf(&cmd, "--disk=%s", path);
	if (failpoint("image.rest.recover", err) < 0 ||
	    image_helper_run(ctx, &cmd, 0, &result, NULL, err) < 0)
		return error_wrap(err, "replay the journal of '%s'", path);
	return 0;
}

/* tmp/vm:NAME:ID8/ with a record that names the clone, before there is one. */
static int record_clone(Context *ctx, const Vm *vm, RestingDisk *disk, char **out_id, Error **err)
{
	auto_vm Vm stand_in = { .name = xstrdup(vm->name),
				.id = uuid_new(),
				.cpus = vm->cpus,
				.memory_mib = vm->memory_mib,
				.disk_size_mib = vm->disk_size_mib,
				.created_at = time_text_now() };
	auto_free char *dir = store_work_dir(&ctx->store, "vm", vm->name, stand_in.id);

	if (failpoint("image.rest.copy.intent", err) < 0 || fs_mkdir(dir, 0700, err) < 0)
		return -1;
	disk->ctx = ctx;
	disk->work_dir = steal(&dir);
	if (failpoint("image.rest.copy.record", err) < 0 ||
	    records_write_new_vm_at(disk->work_dir, &stand_in, err) < 0)
		return -1;
	*out_id = steal(&stand_in.id);
	return 0;
}

int resting_disk_open(Context *ctx, const Vm *vm, RestingDisk *out_disk, Error **err)
{
	auto_resting_disk RestingDisk disk = { .ctx = ctx };
	auto_free char *own = NULL;
	auto_free char *id = NULL;

	if (context_open_storage(ctx, err) < 0)
		return -1;
	own = ctx->storage->path(&ctx->site, vm->id);
	if (disk_look(own, &disk.state, err) < 0)
		return -1;
	if (disk.state != DISK_DIRTY) {
		disk.path = steal(&own);
	} else {
		report_step(ctx, "replay the journal in a copy of the disk");
		if (record_clone(ctx, vm, &disk, &id, err) < 0 ||
		    failpoint("image.rest.copy.clone", err) < 0 ||
		    ctx->storage->clone(ctx->pool, vm->id, id, 0, err) < 0)
			return -1;
		disk.path = ctx->storage->path(&ctx->site, id);
		if (disk_recover(ctx, disk.path, err) < 0)
			return -1;
		disk.state = DISK_CLEAN;
	}
	*out_disk = disk;
	disk = (RestingDisk){ 0 };
	return 0;
}

void resting_disk_release(RestingDisk *disk)
{
	auto_error undo = NULL;

	if (disk->work_dir && leftover_destroy(disk->ctx, disk->work_dir, &undo) < 0)
		report_warning_error(disk->ctx, &undo,
				     "remove a copy of the disk (ember reconcile will finish it)");
	free(disk->work_dir);
	free(disk->path);
	*disk = (RestingDisk){ 0 };
}
