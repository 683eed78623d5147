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
#define SUPER_BLOCKS	     0x4
#define SUPER_FIRST_BLOCK    0x14
#define SUPER_LOG_BLOCK	     0x18
#define SUPER_PER_GROUP	     0x20
#define SUPER_MAGIC	     0x38
#define SUPER_STATE	     0x3a
#define SUPER_COMPATIBLE     0x5c
#define SUPER_INCOMPATIBLE   0x60
#define SUPER_RESERVED_GDT   0xce
#define SUPER_DESC_BYTES     0xfe
#define SUPER_BLOCKS_HIGH    0x150
#define SUPER_BYTES	     1024
#define DESC_HIGH	     0x20 /* of a group descriptor */
#define EXT4_MAGIC	     0xef53
#define STATE_ERROR	     0x2
#define COMPATIBLE_RESIZE    0x10
#define INCOMPATIBLE_RECOVER 0x4
#define INCOMPATIBLE_META_BG 0x10
#define INCOMPATIBLE_64BIT   0x80
/* So much of the table of descriptors at a time, and the most groups that are looked at: 512 TiB. The guest says how many. */
#define TABLE_BYTES 65536
#define GROUPS_MAX  (4U << 20)

int disk_look(Context *ctx, const char *volume, DiskState *out_state, Error **err)
{
	unsigned char super[128];

	if (context_open_storage(ctx, err) < 0 ||
	    storage_read(ctx->storage, ctx->pool, volume, SUPER_OFFSET, super, sizeof(super), err) <
		    0)
		return -1;
	if ((super[SUPER_MAGIC] | super[SUPER_MAGIC + 1] << 8) != EXT4_MAGIC)
		*out_state = DISK_FOREIGN;
	else if (super[SUPER_INCOMPATIBLE] & INCOMPATIBLE_RECOVER ||
		 super[SUPER_STATE] & STATE_ERROR)
		*out_state = DISK_DIRTY;
	else
		*out_state = DISK_CLEAN;
	return 0;
}

static uint32_t get_u16(const unsigned char *from)
{
	return from[0] | (uint32_t)from[1] << 8;
}

static uint32_t get_u32(const unsigned char *from)
{
	return get_u16(from) | get_u16(from + 2) << 16;
}

/* Where an ext4 has its groups and their descriptors. */
typedef struct Ext4Shape {
	uint64_t block_bytes, blocks, per_group, groups;
	uint32_t descriptor_bytes, reserved_gdt_blocks, first_block;
	bool is_dirty, has_meta_bg, has_resize_inode;
} Ext4Shape;

/* False: no ext4, or none that can be made sense of. */
static bool read_shape(Context *ctx, const char *volume, Ext4Shape *out_shape)
{
	unsigned char super[SUPER_BYTES];
	uint32_t incompatible, log_block;
	Ext4Shape shape = { .descriptor_bytes = 32 };

	if (context_open_storage(ctx, NULL) < 0 ||
	    storage_read(ctx->storage, ctx->pool, volume, SUPER_OFFSET, super, sizeof(super),
			 NULL) < 0)
		return false;
	incompatible = get_u32(super + SUPER_INCOMPATIBLE);
	log_block = get_u32(super + SUPER_LOG_BLOCK);
	shape.per_group = get_u32(super + SUPER_PER_GROUP);
	shape.blocks = get_u32(super + SUPER_BLOCKS);
	if (incompatible & INCOMPATIBLE_64BIT) {
		shape.blocks |= (uint64_t)get_u32(super + SUPER_BLOCKS_HIGH) << 32;
		shape.descriptor_bytes = get_u16(super + SUPER_DESC_BYTES);
	}
	if (get_u16(super + SUPER_MAGIC) != EXT4_MAGIC || log_block > 6 || shape.per_group == 0 ||
	    shape.descriptor_bytes < 32 || shape.descriptor_bytes > 1024)
		return false;
	shape.block_bytes = 1024ULL << log_block;
	shape.groups = (shape.blocks + shape.per_group - 1) / shape.per_group;
	shape.reserved_gdt_blocks = get_u16(super + SUPER_RESERVED_GDT);
	shape.first_block = get_u32(super + SUPER_FIRST_BLOCK);
	shape.is_dirty = incompatible & INCOMPATIBLE_RECOVER;
	shape.has_meta_bg = incompatible & INCOMPATIBLE_META_BG;
	shape.has_resize_inode = get_u32(super + SUPER_COMPATIBLE) & COMPATIBLE_RESIZE;
	*out_shape = shape;
	return true;
}

uint64_t disk_growth_max(Context *ctx, const char *volume)
{
	uint64_t groups, per_block;
	Ext4Shape shape;

	if (!read_shape(ctx, volume, &shape))
		return UINT64_MAX;
	/* As guest/resize.c has it, which says why. */
	if (!shape.has_resize_inode || shape.has_meta_bg)
		return shape.blocks * shape.block_bytes;
	per_block = shape.block_bytes / shape.descriptor_bytes;
	groups = ((shape.groups + per_block - 1) / per_block + shape.reserved_gdt_blocks) *
		 per_block;
	return groups * shape.per_group * shape.block_bytes;
}

/* The three addresses that begin a descriptor lie within the filesystem. */
static bool is_descriptor(const Ext4Shape *shape, const unsigned char *at)
{
	for (size_t i = 0; i < 3; i++) {
		uint64_t block = get_u32(at + 4 * i);

		if (shape->descriptor_bytes >= 64)
			block |= (uint64_t)get_u32(at + DESC_HIGH + 4 * i) << 32;
		if (block <= shape->first_block || block >= shape->blocks)
			return false;
	}
	return true;
}

static bool is_half_grown(Context *ctx, const char *volume)
{
	auto_free unsigned char *table = NULL;
	uint64_t table_at, per_read, count;
	Ext4Shape shape;

	if (!read_shape(ctx, volume, &shape) || !shape.is_dirty || shape.has_meta_bg ||
	    shape.groups > GROUPS_MAX)
		return false;
	table_at = (shape.first_block + 1) * shape.block_bytes;
	per_read = TABLE_BYTES / shape.descriptor_bytes;
	table = xmalloc(TABLE_BYTES);
	for (uint64_t group = 0; group < shape.groups; group += per_read) {
		count = shape.groups - group < per_read ? shape.groups - group : per_read;
		if (storage_read(ctx->storage, ctx->pool, volume,
				 table_at + group * shape.descriptor_bytes, table,
				 count * shape.descriptor_bytes, NULL) < 0)
			return false;
		for (uint64_t i = 0; i < count; i++)
			if (!is_descriptor(&shape, table + i * shape.descriptor_bytes))
				return true;
	}
	return false;
}

int disk_finish_growth(Context *ctx, const Vm *vm, Error **err)
{
	auto_plain_disk PlainDisk disk = { 0 };

	if (!is_half_grown(ctx, vm->volume))
		return 0;
	report_step(ctx, "replay the journal of vm '%s', which was cut off while it grew",
		    vm->name);
	if (plain_disk_open(ctx, "vm", vm->name, vm->volume, &disk, err) < 0 ||
	    disk_recover(ctx, disk.path, err) < 0 || plain_disk_save(&disk, vm->volume, err) < 0)
		return -1;
	report_done(ctx);
	return 0;
}

int disk_check_growth(Context *ctx, const char *volume, uint64_t have_mib, uint64_t size_mib,
		      const char *command, Error **err)
{
	uint64_t most = disk_growth_max(ctx, volume);
	auto_free char *most_text = NULL;
	auto_free char *most_typed = NULL;

	if (size_mib <= have_mib || size_mib <= most / MIB)
		return 0;
	most_text = size_text(most);
	error_set(err, ERR_UNSUPPORTED, "the filesystem on the disk can grow to %s at most",
		  most_text);
	if (most / MIB <= have_mib)
		return error_hint(err, "it has that already: leave the disk as it is");
	most_typed = size_typed(most);
	return error_hint(err, "ask for no more than that: %s --disk-size %s", command, most_typed);
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	report_bytes(arg, done, total);
}

static int copy_out(Context *ctx, const char *kind, const char *name, const char *volume,
		    PlainDisk *disk, Error **err)
{
	auto_free char *id = uuid_new();
	auto_fd fd = -1;

	disk->work_dir = store_work_dir(&ctx->store, kind, name, id);
	disk->path = path_join(disk->work_dir, "disk.raw");
	report_step(ctx, "read the disk of '%s'", name);
	if (failpoint("disk.plain.work", err) < 0 || fs_mkdir(disk->work_dir, 0700, err) < 0)
		return -1;
	fd = open(disk->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(err, errno, "make '%s'", disk->path);
	if (failpoint("disk.plain.copy", err) < 0)
		return -1;
	return ctx->storage->copy_out(ctx->pool, volume, fd, on_progress, ctx, err);
}

int plain_disk_open(Context *ctx, const char *kind, const char *name, const char *volume,
		    PlainDisk *out_disk, Error **err)
{
	auto_plain_disk PlainDisk disk = { .ctx = ctx };
	auto_storage_disk StorageDisk own = { 0 };

	if (context_attach_disk(ctx, volume, &own, err) < 0)
		return -1;
	if (own.format == DISK_RAW)
		disk.path = steal(&own.path);
	else if (copy_out(ctx, kind, name, volume, &disk, err) < 0)
		return -1;
	*out_disk = disk;
	disk = (PlainDisk){ 0 };
	return 0;
}

int plain_disk_save(PlainDisk *disk, const char *volume, Error **err)
{
	auto_fd fd = -1;

	if (!disk->work_dir)
		return 0;
	fd = open(disk->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "open '%s'", disk->path);
	return disk->ctx->storage->copy_in(disk->ctx->pool, volume, fd, err);
}

static void remove_work_dir(Context *ctx, char **work_dir)
{
	auto_error undo = NULL;

	if (*work_dir && leftover_destroy(ctx, *work_dir, &undo) < 0)
		report_warning_error(ctx, &undo,
				     "remove a copy of the disk (ember reconcile will finish it)");
	free(steal(work_dir));
}

void plain_disk_release(PlainDisk *disk)
{
	remove_work_dir(disk->ctx, &disk->work_dir);
	free(disk->path);
	*disk = (PlainDisk){ 0 };
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

	stand_in.volume = xstrdup(stand_in.id);
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

/* In a clone where that costs nothing. A copy can be written to as it is. */
static int recover_clone(Context *ctx, const Vm *vm, RestingDisk *disk, Error **err)
{
	auto_free char *id = NULL;

	if (!ctx->storage->copy_out) {
		if (record_clone(ctx, vm, disk, &id, err) < 0 ||
		    failpoint("image.rest.copy.clone", err) < 0 ||
		    ctx->storage->clone(ctx->pool, vm->volume, id, 0, /* live= */ NULL, err) < 0)
			return -1;
	}
	if (plain_disk_open(ctx, "vm", vm->name, id ? id : vm->volume, &disk->plain, err) < 0)
		return -1;
	report_step(ctx, "replay the journal in a copy of the disk");
	if (disk_recover(ctx, disk->plain.path, err) < 0)
		return -1;
	disk->state = DISK_CLEAN;
	return 0;
}

int resting_disk_open(Context *ctx, const Vm *vm, RestingDisk *out_disk, Error **err)
{
	auto_resting_disk RestingDisk disk = { .ctx = ctx };

	if (disk_look(ctx, vm->volume, &disk.state, err) < 0)
		return -1;
	if (disk.state == DISK_DIRTY
		    ? recover_clone(ctx, vm, &disk, err) < 0
		    : plain_disk_open(ctx, "vm", vm->name, vm->volume, &disk.plain, err) < 0)
		return -1;
	*out_disk = disk;
	disk = (RestingDisk){ 0 };
	return 0;
}

void resting_disk_release(RestingDisk *disk)
{
	plain_disk_release(&disk->plain);
	remove_work_dir(disk->ctx, &disk->work_dir);
	*disk = (RestingDisk){ 0 };
}
