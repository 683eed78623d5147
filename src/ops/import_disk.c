#include "ops/import_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "ops/disk.h"
#include "ops/image_helper.h"
#include "ops/image_make.h"
#include "ops/spool.h"
#include "state/records.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* The header of a qcow2: docs/interop/qcow2.txt in QEMU's sources. Big-endian. */
#define QCOW2_VERSION	      4
#define QCOW2_BACKING	      8
#define QCOW2_SIZE	      24
#define QCOW2_CRYPT	      32
#define QCOW2_INCOMPATIBLE    72
#define QCOW2_HEADER	      80
#define INCOMPATIBLE_CORRUPT  0x2
#define INCOMPATIBLE_DATAFILE 0x4
#define INCOMPATIBLE_KNOWN    0x1f
#define QCOW2_MAX_BYTES	      (16ULL << 40)

#define SECTOR 512

static uint64_t big_endian(const unsigned char *bytes, size_t len)
{
	uint64_t value = 0;

	for (size_t i = 0; i < len; i++)
		value = value << 8 | bytes[i];
	return value;
}

static int refuse_qcow2(const char *what, const char *hint, Error **err)
{
	error_set(err, ERR_USAGE, "the qcow2 disk %s", what);
	return error_hint(err, "%s", hint);
}

/* qemu-img opens what a disk names, with our rights: so a disk that names anything never comes to it. */
static int check_qcow2(int fd, Error **err)
{
	unsigned char header[QCOW2_HEADER] = { 0 };
	uint64_t version, features;

	if (pread(fd, header, sizeof(header), 0) < (ssize_t)sizeof(header))
		return refuse_qcow2("is cut short", "get the file again", err);
	version = big_endian(header + QCOW2_VERSION, 4);
	features = version >= 3 ? big_endian(header + QCOW2_INCOMPATIBLE, 8) : 0;
	if (version != 2 && version != 3)
		return refuse_qcow2("is of a version that is not known",
				    "convert it: qemu-img convert -O raw FILE DISK", err);
	if (big_endian(header + QCOW2_BACKING, 8))
		return refuse_qcow2("needs another file, its backing file",
				    "make it whole: qemu-img convert -O qcow2 FILE WHOLE", err);
	if (features & INCOMPATIBLE_DATAFILE)
		return refuse_qcow2("has its data in another file",
				    "make it whole: qemu-img convert -O qcow2 FILE WHOLE", err);
	if (big_endian(header + QCOW2_CRYPT, 4))
		return refuse_qcow2("is encrypted", "decrypt it: qemu-img convert", err);
	if (features & INCOMPATIBLE_CORRUPT)
		return refuse_qcow2("is marked as damaged", "mend it: qemu-img check -r all", err);
	if (features & ~(uint64_t)INCOMPATIBLE_KNOWN)
		return refuse_qcow2("has features that are not known",
				    "convert it: qemu-img convert -O raw FILE DISK", err);
	if (big_endian(header + QCOW2_SIZE, 8) > QCOW2_MAX_BYTES)
		return refuse_qcow2("says that it is larger than 16 TiB", "get it again", err);
	return 0;
}

/* Its size field, as whole sectors. */
static uint64_t qcow2_bytes(int fd)
{
	unsigned char header[QCOW2_HEADER] = { 0 };

	(void)pread(fd, header, sizeof(header), 0);
	return (big_endian(header + QCOW2_SIZE, 8) + SECTOR - 1) & ~(uint64_t)(SECTOR - 1);
}

/* The file as qemu-img shall see it, whatever stands in it: no other one belongs to it. */
static char *whole_qcow2(void)
{
	json_auto_t *disk = json_object();
	json_t *file = json_object();
	auto_free char *text = NULL;

	json_put_string(file, "driver", "file");
	json_put_string(file, "filename", "/dev/fd/0");
	json_put_string(disk, "driver", "qcow2");
	json_put_take(disk, "backing", json_null());
	json_put_take(disk, "file", file);
	text = json_text(disk);
	return xasprintf("json:%s", text);
}

/* Many blocks of a small qcow2 can be the same ones of it. */
static int watch_growth(pid_t pid, void *arg, Error **err)
{
	const int *fd = arg;
	struct stat st;

	(void)pid;
	if (fstat(*fd, &st) < 0)
		return error_set_errno(err, errno, "look at the disk");
	return spool_check(*fd, (uint64_t)st.st_blocks * SECTOR, SPOOL_BYTES_MAX, err);
}

int qcow2_to_raw(Context *ctx, const char *path, const char *raw, Error **err)
{
	static const char *const words[] = { "convert", "-n", "--target-is-zero", "-O", "raw" };
	auto_command Command cmd = { 0 };
	auto_free char *source = NULL;
	auto_error cause = NULL;
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	auto_fd target = -1;

	if (fd < 0)
		return error_set_errno(err, errno, "open '%s'", path);
	if (check_qcow2(fd, err) < 0 || image_confined_init(&cmd, "qemu-img", err) < 0 ||
	    failpoint("image.import.qcow2", err) < 0)
		return -1;
	target = open(raw, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (target < 0 || ftruncate(target, (off_t)qcow2_bytes(fd)) < 0)
		return error_set_errno(err, errno, "make '%s'", raw);
	report_step(ctx, "convert '%s'", path);
	source = whole_qcow2();
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		command_add(&cmd, words[i]);
	command_add(&cmd, source);
	command_add(&cmd, "/dev/fd/3");
	cmd.stdin_fd = fd;
	cmd.pass_fd = target;
	cmd.on_tick = watch_growth;
	cmd.on_tick_arg = &target;
	if (command_run(&cmd, DEADLINE_NEVER, &cause) == 0)
		return 0;
	/* It may have filled a small disk faster than it was watched. */
	if (error_code(cause) == ERR_FAILED && watch_growth(0, &target, err) < 0)
		return -1;
	error_move(err, &cause);
	return -1;
}

/* What the disk says of how to run it. */
static int write_run_config(const char *path, const ImageConfig *config, Error **err)
{
	json_auto_t *doc = image_config_to_json(config);

	return json_write_new_file(path, doc, err);
}

/* A copy to replay the journal in: the user's own file is never written to. */
static int copy_disk(Context *ctx, const char *path, const char *copy, Error **err)
{
	auto_fd from = open(path, O_RDONLY | O_CLOEXEC);
	auto_fd to = -1;

	report_step(ctx, "copy '%s', whose journal has to be replayed", path);
	if (from < 0)
		return error_set_errno(err, errno, "open '%s'", path);
	if (failpoint("image.import.copy", err) < 0)
		return -1;
	to = open(copy, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0)
		return error_set_errno(err, errno, "make '%s'", copy);
	return fs_copy_contents(from, to, NULL, NULL, err);
}

/* One ember-image reads the disk, another writes what it reads. */
static int stream(Context *ctx, Image *image, const char *path, const char *dir,
		  const DiskFacts *facts, const ImportOptions *options, Error **err)
{
	auto_command Command cmd = { 0 };
	auto_free char *log = path_join(dir, "export.log");
	auto_fd read_end = -1;
	auto_fd write_end = -1;
	auto_error reader = NULL;
	auto_free char *run_config = path_join(dir, "image.json");
	ImageSource source = { .config = options->config, .total_bytes = facts->used_bytes };
	int ends[2], result;
	pid_t pid;

	if (!options->config)
		source.run_config = run_config;
	if (write_run_config(run_config, &facts->config, err) < 0 ||
	    image_helper_init(&cmd, err) < 0)
		return -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "make a pipe");
	read_end = ends[0];
	write_end = ends[1];
	command_add(&cmd, "export");
	command_addf(&cmd, "--disk=%s", path);
	command_addf(&cmd, "--offset=%llu", (unsigned long long)facts->offset);
	command_add(&cmd, "--tar-fd=3");
	if (facts->needs_recovery)
		command_add(&cmd, "--recover");
	cmd.pass_fd = write_end;
	report_step(ctx, "write image '%s'", image->name);
	if (failpoint("image.import.read", err) < 0 || image_helper_spawn(&cmd, log, &pid, err) < 0)
		return -1;
	close_fd(&write_end);
	source.tar_fd = read_end;
	result = image_write(ctx, image, &source, err);
	/* When the reader failed the writer did too, by a tar that ends early: then the reader knows why. */
	if (image_helper_finish(ctx, pid, log, result < 0, &reader) < 0) {
		if (result < 0 && err)
			error_clear(err);
		error_move(err, &reader);
		return -1;
	}
	return result;
}

int import_disk(Context *ctx, Image *image, const char *path, const char *dir,
		const ImportOptions *options, Error **err)
{
	auto_disk_facts DiskFacts facts = { 0 };
	auto_free char *copy = path_join(dir, "copy.raw");

	if (disk_probe(ctx, path, &facts, err) < 0 ||
	    (facts.needs_recovery && copy_disk(ctx, path, copy, err) < 0))
		return -1;
	return stream(ctx, image, facts.needs_recovery ? copy : path, dir, &facts, options, err);
}
