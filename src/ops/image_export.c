/*
 * Images and disks of VMs into files.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "model/size.h"
#include "ops/disk.h"
#include "ops/image.h"
#include "ops/image_make.h"
#include "ops/image_move.h"
#include "ops/oci_source.h"
#include "ops/out_file.h"
#include "ops/reconcile.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/mem.h"

#define FORMAT_OCI   "oci-archive"
#define FORMAT_RAW   "raw"
#define FORMAT_QCOW2 "qcow2"

void exported_release(Exported *exported)
{
	free(exported->digest);
	*exported = (Exported){ 0 };
}

/* What the end of a file's name says about its content. NULL: what ember does not write. */
static const struct {
	const char *suffix;
	const char *format;
} suffixes[] = {
	{ ".qcow2", FORMAT_QCOW2 }, { ".raw", FORMAT_RAW }, { ".img", FORMAT_RAW },
	{ ".ext4", FORMAT_RAW },    { ".gz", NULL },	    { ".tgz", NULL },
	{ ".zst", NULL },	    { ".xz", NULL },	    { ".bz2", NULL },
	{ ".lz4", NULL },	    { ".vmdk", NULL },	    { ".vdi", NULL },
	{ ".vhd", NULL },	    { ".vhdx", NULL },	    { ".iso", NULL },
};

static int format_of(const char *file, const char **out_format, Error **err)
{
	size_t len = strlen(file);

	*out_format = FORMAT_OCI;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		size_t tail = strlen(suffixes[i].suffix);

		if (len <= tail || strcasecmp(file + len - tail, suffixes[i].suffix) != 0)
			continue;
		*out_format = suffixes[i].format;
		break;
	}
	if (*out_format)
		return 0;
	error_set(err, ERR_USAGE, "'%s' has the name of a file that ember does not write", file);
	return error_hint(err,
			  "name it .tar, .raw or .qcow2, or say what to write: --as oci-archive");
}

static int check_options(const char *file, const ExportOptions *options, const char **out_format,
			 Error **err)
{
	const char *format = options->format;

	if (!format && format_of(file, &format, err) < 0)
		return -1;
	if (options->compress && strcmp(format, FORMAT_QCOW2) != 0) {
		error_set(err, ERR_USAGE, "--compress is for qcow2 files, and this is %s", format);
		return error_hint(err, "leave it out, or choose --as qcow2");
	}
	if (!strcmp(file, "-") && strcmp(format, FORMAT_OCI) != 0) {
		error_set(err, ERR_USAGE, "only an OCI archive can go to standard output");
		return error_hint(err, "name a file for --as %s", format);
	}
	*out_format = format;
	return 0;
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	report_bytes(arg, done, total);
}

static int write_raw(Context *ctx, const Image *image, const OutFile *out, Error **err)
{
	auto_fd disk = open(image->disk_path, O_RDONLY | O_CLOEXEC);

	if (disk < 0)
		return error_set_errno(err, errno, "open the disk '%s'", image->disk_path);
	return fs_copy_contents(disk, out->fd, on_progress, ctx, err);
}

static int write_qcow2(const Image *image, const OutFile *out, bool compress, Error **err)
{
	auto_command Command cmd = { 0 };
	static const char *const words[] = { "convert", "-f", "raw", "-O", "qcow2" };

	if (command_init_tool(&cmd, "qemu-img", err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		command_add(&cmd, words[i]);
	if (compress) {
		command_add(&cmd, "-c");
		command_add(&cmd, "-o");
		command_add(&cmd, "compression_type=zstd");
	}
	command_add(&cmd, image->disk_path);
	command_add(&cmd, OUT_FILE_PASSED);
	cmd.pass_fd = out->fd;
	return command_run_writer(&cmd, DEADLINE_NEVER, "write the disk", err);
}

static int write_archive(Context *ctx, const char *kind, const Image *image, const OutFile *out,
			 Exported *exported, Error **err)
{
	auto_oci_source OciSource source = OCI_SOURCE_NONE;

	if (oci_source_open(ctx, kind, image, &source, err) < 0)
		return -1;
	report_step(ctx, "write the archive of '%s'", image->name);
	if (oci_archive_write(out->fd, source.blobs_dir, &source.blobs, image->name, on_progress,
			      ctx, err) < 0)
		return -1;
	exported->digest = xstrdup(source.blobs.items[0].digest);
	return 0;
}

static int measure(const OutFile *out, const char *file, Exported *exported, Error **err)
{
	struct stat st;

	if (fstat(out->fd, &st) < 0)
		return error_set_errno(err, errno, "look at '%s'", file);
	exported->size_bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	return 0;
}

static int write_format(Context *ctx, const char *kind, const Image *image, const OutFile *out,
			const ExportOptions *options, Exported *exported, Error **err)
{
	if (failpoint("image.export.write", err) < 0)
		return -1;
	if (!strcmp(exported->format, FORMAT_OCI))
		return write_archive(ctx, kind, image, out, exported, err);
	report_step(ctx, "write the disk of '%s'", image->name);
	if (!strcmp(exported->format, FORMAT_QCOW2))
		return write_qcow2(image, out, options->compress, err);
	return write_raw(ctx, image, out, err);
}

/* The part that both have in common: `image` says what and from where. */
static int export(Context *ctx, const char *kind, const Image *image, const char *file,
		  const ExportOptions *options, const char *format, Exported *out_exported,
		  Error **err)
{
	auto_out_file OutFile out = OUT_FILE_NONE;
	auto_exported Exported exported = { .format = format };

	if (out_file_open(file, options->replace, &out, err) < 0 ||
	    write_format(ctx, kind, image, &out, options, &exported, err) < 0 ||
	    measure(&out, file, &exported, err) < 0 || out_file_commit(ctx, &out, err) < 0)
		return error_wrap(err, "export %s '%s' to '%s'", kind, image->name, file);
	report_done(ctx);
	*out_exported = exported;
	exported = (Exported){ 0 };
	return 0;
}

int ops_image_export(Context *ctx, const char *name, const char *file, const ExportOptions *options,
		     Exported *out_exported, Error **err)
{
	auto_image Image found = { 0 };
	auto_image Image image = { 0 };
	auto_plain_disk PlainDisk disk = { 0 };
	auto_fd lock = -1;
	const char *format;

	if (check_options(file, options, &format, err) < 0 || change_begin(ctx, err) < 0 ||
	    ops_image_find(ctx, name, &found, err) < 0 ||
	    store_lock_source(&ctx->store, "image", found.name, &lock, err) < 0 ||
	    records_read_image(&ctx->store, found.name, &image, err) < 0 ||
	    context_open_storage(ctx, err) < 0)
		return -1;
	/* An archive may be made of what the image was pulled with, without a look at its disk. */
	if (strcmp(format, FORMAT_OCI) != 0) {
		if (plain_disk_open(ctx, "image", image.name, image.id, &disk, err) < 0)
			return -1;
		str_assign(&image.disk_path, disk.path);
	}
	return export(ctx, "image", &image, file, options, format, out_exported, err);
}

static int describe(Context *ctx, const Vm *vm, const RestingDisk *disk, Image *image, Error **err)
{
	image->name = xstrdup(vm->name);
	image->disk_path = xstrdup(disk->plain.path);
	image->created_at = time_text_now();
	/* There is nobody to tell in a disk that is taken as it is. */
	return disk->state == DISK_FOREIGN ? 0
					   : vm_image_config(ctx, vm, disk->plain.path, image, err);
}

int ops_vm_export(Context *ctx, const char *name, const char *file, const ExportOptions *options,
		  Exported *out_exported, Error **err)
{
	auto_vm Vm vm = { 0 };
	auto_image Image image = { 0 };
	auto_resting_disk RestingDisk disk = { 0 };
	auto_fd lock = -1;
	const char *format;

	/* Read once before its lock file is made, so that a mistyped name leaves none behind. */
	if (check_options(file, options, &format, err) < 0 || change_begin(ctx, err) < 0 ||
	    vm_read_resting(ctx, name, &vm, err) < 0 ||
	    store_lock_source(&ctx->store, "vm", name, &lock, err) < 0)
		return -1;
	vm_release(&vm);
	if (vm_read_resting(ctx, name, &vm, err) < 0 || resting_disk_open(ctx, &vm, &disk, err) < 0)
		return -1;
	if (disk.state == DISK_FOREIGN && !strcmp(format, FORMAT_OCI)) {
		error_set(err, ERR_UNSUPPORTED, "the disk of vm '%s' holds no ext4 filesystem",
			  name);
		return error_hint(err, "save it as it is: --as raw");
	}
	if (describe(ctx, &vm, &disk, &image, err) < 0)
		return -1;
	return export(ctx, "vm", &image, file, options, format, out_exported, err);
}
