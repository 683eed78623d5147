/*
 * Images from files that others made. What a file is shows in its contents.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "model/size.h"
#include "model/uuid.h"
#include "ops/archive_look.h"
#include "ops/image.h"
#include "ops/image_make.h"
#include "ops/image_move.h"
#include "ops/image_source.h"
#include "ops/import_disk.h"
#include "ops/leftover.h"
#include "ops/reconcile.h"
#include "ops/sniff.h"
#include "ops/spool.h"
#include "ops/unpack.h"
#include "util/cancel.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

/* What of a pipe is looked at before it is decided whether it has to become a file, and how long its writer may take. */
#define PEEK_BYTES    32768
#define PEEK_WAIT_MS  300
#define PEEK_PAUSE_MS 10

#define TAGS_SHOWN 12

/* One import under way. */
typedef struct Import {
	Context *ctx;
	const ImportOptions *options;
	const char *name; /* of the image to be */
	const char *file; /* as it was given */
	char *path;	  /* the user's file or our copy of it; NULL: a pipe */
	char *shown;	  /* for messages */
	char *dir;	  /* tmp/import:NAME */
	int fd;
	Sniffed outer;	  /* the file as it is */
	Sniffed inner;	  /* unpacked; the same when it is not packed */
	size_t inner_len; /* how much of that was seen */
	ArchiveFacts archive;
} Import;

static void import_release(Import *import)
{
	auto_error undo = NULL;

	if (import->dir && leftover_destroy(import->ctx, import->dir, &undo) < 0)
		report_warning_error(import->ctx, &undo,
				     "remove temporary files (ember reconcile will finish it)");
	close_fd(&import->fd);
	free(import->path);
	free(import->shown);
	free(import->dir);
	archive_facts_release(&import->archive);
}

static int open_input(Import *import, const char *file, Error **err)
{
	struct stat st;

	if (!strcmp(file, "-")) {
		import->shown = xstrdup("standard input");
		import->fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
		if (import->fd >= 0 && isatty(import->fd)) {
			error_set(err, ERR_USAGE, "an image does not come from a terminal");
			return error_hint(err, "name a file, or pipe something into it");
		}
	} else {
		import->shown = xasprintf("'%s'", file);
		import->fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	}
	if (import->fd < 0 || fstat(import->fd, &st) < 0)
		return error_set_errno(err, errno, "open %s", import->shown);
	if (S_ISDIR(st.st_mode)) {
		error_set(err, ERR_USAGE, "%s is a directory", import->shown);
		return error_hint(err, "make a tar of it: tar -C %s -c . | ember image import %s -",
				  file, import->name);
	}
	if (S_ISCHR(st.st_mode)) {
		error_set(err, ERR_USAGE, "%s is a device, with no image on it", import->shown);
		return error_hint(err, "name a file, or pipe something into it");
	}
	if (!strcmp(file, "-") && S_ISREG(st.st_mode)) {
		import->path = os_file_name(import->fd);
		return lseek(import->fd, 0, SEEK_SET) < 0
			       ? error_set_errno(err, errno, "read %s", import->shown)
			       : 0;
	}
	if (S_ISREG(st.st_mode))
		return path_absolute(file, &import->path, err);
	return 0;
}

/* Look at the first bytes of an open file, or at what comes out of a pipe. */
static int sniff_fd(int fd, Sniffed *out_sniffed, size_t *out_len, Error **err)
{
	auto_free unsigned char *data = xmalloc(SNIFF_BYTES);
	size_t len;

	if (fs_read_full(fd, data, SNIFF_BYTES, &len, err) < 0)
		return -1;
	*out_sniffed = sniff(data, len);
	*out_len = len;
	return 0;
}

static int rewind_fd(int fd, Error **err)
{
	return lseek(fd, 0, SEEK_SET) < 0 ? error_set_errno(err, errno, "read it again") : 0;
}

/* The same question to what is in a packed file: each answer takes just the beginning of it. */
static int look_inside(Import *import, int fd, Error **err)
{
	auto_unpacker Unpacker first = { .fd = -1 };
	auto_unpacker Unpacker second = { .fd = -1 };

	if (unpacker_start(import->outer.unpacker, fd, import->dir, &first, err) < 0 ||
	    sniff_fd(first.fd, &import->inner, &import->inner_len, err) < 0)
		return -1;
	if (import->inner.kind != SNIFF_TAR)
		return 0;
	/* The two share the file's offset: the first must have ended before it is set back. */
	unpacker_release(&first);
	if (rewind_fd(fd, err) < 0 ||
	    unpacker_start(import->outer.unpacker, fd, import->dir, &second, err) < 0)
		return -1;
	return archive_look(second.fd, &import->archive, err);
}

/* What is it? `fd` can be rewound. */
static int look(Import *import, int fd, Error **err)
{
	size_t len;

	archive_facts_release(&import->archive);
	if (rewind_fd(fd, err) < 0 || sniff_fd(fd, &import->outer, &len, err) < 0 ||
	    rewind_fd(fd, err) < 0)
		return -1;
	import->inner = import->outer;
	if (import->outer.kind == SNIFF_PACKED && look_inside(import, fd, err) < 0)
		return -1;
	if (import->outer.kind == SNIFF_TAR && archive_look(fd, &import->archive, err) < 0)
		return -1;
	return rewind_fd(fd, err);
}

/* The beginning of a pipe, which stays in it; *out_fd is a file with a copy. Less than there may be, or nothing of what is
 * no pipe. */
static int peek(int from_fd, int *out_fd, Error **err)
{
	auto_fd copy = os_memory_file("ember-peek");
	auto_free char *data = xmalloc(PEEK_BYTES);
	ssize_t seen = 0, got = 0;

	if (copy < 0)
		return error_set_errno(err, errno, "make a buffer");
	for (int waited = 0; waited < PEEK_WAIT_MS && seen < PEEK_BYTES; waited += PEEK_PAUSE_MS) {
		struct pollfd event = { .fd = from_fd, .events = POLLIN };

		/* The first byte may take its time. */
		if (poll(&event, 1, -1) < 0 && cancel_check(err) < 0)
			return -1;
		got = os_pipe_peek(from_fd, data, PEEK_BYTES);
		if (got <= 0)
			break;
		if (got > seen)
			waited = 0;
		seen = got;
		if (seen < PEEK_BYTES)
			(void)poll(NULL, 0, PEEK_PAUSE_MS);
	}
	if (seen > 0 && fs_write_all(copy, data, (size_t)seen, err) < 0)
		return -1;
	*out_fd = steal_fd(&copy);
	return 0;
}

static int refuse(const Import *import, Error **err)
{
	if (import->outer.kind == SNIFF_PACKED)
		error_set(err, ERR_USAGE, "%s is no image: it seems to be %s with %s in it",
			  import->shown, import->outer.what, import->inner.what);
	else
		error_set(err, ERR_USAGE, "%s is no image: it seems to be %s", import->shown,
			  import->outer.what);
	return error_hint(err, "give a tar of a root filesystem, an archive of docker save or OCI, "
			       "or a raw or qcow2 disk with ext4");
}

/* Nothing that an image could be, whatever may follow. */
static int check_begin(Import *import, int fd, Error **err)
{
	size_t len;

	if (rewind_fd(fd, err) < 0 || sniff_fd(fd, &import->outer, &len, err) < 0)
		return -1;
	return import->outer.kind == SNIFF_OTHER ? refuse(import, err) : 0;
}

/* A file of what comes through a descriptor; import->path and ->fd are it from then on. */
static int make_file(Import *import, int from_fd, const char *name, Error **err)
{
	auto_free char *path = path_join(import->dir, name);
	auto_fd fd = -1;
	Spool spool = { .ctx = import->ctx, .from_fd = from_fd, .max_bytes = SPOOL_BYTES_MAX };
	bool is_input = from_fd == import->fd;

	if (failpoint("image.import.spool", err) < 0)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(err, errno, "make '%s'", path);
	spool.to_fd = fd;
	if (spool_read(&spool, SNIFF_BYTES, err) < 0)
		return error_wrap(err, is_input ? "read %s" : "unpack %s", import->shown);
	if (is_input && check_begin(import, fd, err) < 0)
		return -1;
	if (spool_read(&spool, UINT64_MAX, err) < 0)
		return error_wrap(err, is_input ? "read %s" : "unpack %s", import->shown);
	free(import->path);
	import->path = steal(&path);
	close_fd(&import->fd);
	import->fd = steal_fd(&fd);
	return rewind_fd(import->fd, err);
}

static bool is_rootfs(const Import *import)
{
	return import->inner.kind == SNIFF_TAR && import->archive.kind == ARCHIVE_ROOTFS;
}

/* A pipe with a root filesystem is read as it comes; all else needs a file. */
static int look_at_pipe(Import *import, Error **err)
{
	auto_fd copy = -1;

	if (peek(import->fd, &copy, err) < 0 || look(import, copy, err) < 0)
		return -1;
	if (is_rootfs(import) && import->archive.is_certain)
		return 0;
	if (import->outer.kind == SNIFF_PACKED && import->inner.kind == SNIFF_OTHER &&
	    import->inner_len == SNIFF_BYTES)
		return refuse(import, err);
	report_step(import->ctx, "read %s", import->shown);
	if (make_file(import, import->fd, "input", err) < 0)
		return -1;
	return look(import, import->fd, err);
}

static int check_options(const Import *import, Error **err)
{
	const ImportOptions *options = import->options;
	bool is_archive = import->inner.kind == SNIFF_TAR && !is_rootfs(import);

	if (options->tag && !is_archive) {
		error_set(err, ERR_USAGE, "--tag is for archives of images, and %s is %s",
			  import->shown, import->outer.what);
		return error_hint(err, "leave it out");
	}
	if (options->config && is_archive) {
		error_set(err, ERR_USAGE, "--config is not for archives, which bring their own");
		return error_hint(err, "leave it out");
	}
	return 0;
}

/* From now on it is the file that was in the packed one. */
static int unpack(Import *import, Error **err)
{
	auto_unpacker Unpacker unpacker = { .fd = -1 };

	report_step(import->ctx, "unpack %s", import->shown);
	if (unpacker_start(import->outer.unpacker, import->fd, import->dir, &unpacker, err) < 0 ||
	    make_file(import, unpacker.fd, "unpacked", err) < 0)
		return -1;
	return unpacker_finish(&unpacker, false, err);
}

/* The first of them, for a message. */
static char *tags_text(const Strv *tags)
{
	auto_strv Strv some = { 0 };

	for (size_t i = 0; i < tags->count && i < TAGS_SHOWN; i++)
		strv_pushf(&some, "%.200s", tags->items[i]);
	if (tags->count > TAGS_SHOWN)
		strv_push(&some, "...");
	return strv_join(&some, ", ");
}

/*
 * Archives go the way of a pull, and its locks: with their layers in the cache, so that they can leave again as they came.
 */
static int import_archive(Import *import, Image *out_image, Error **err)
{
	auto_free char *local = xasprintf("local:%s", import->name);
	PullOptions pull = { .name = import->name,
			     .record_as = local,
			     .shown = strcmp(import->file, "-") ? import->file : "standard input",
			     .platform = import->options->platform,
			     .refresh = import->options->replace };
	bool is_oci = import->archive.kind == ARCHIVE_OCI;
	auto_free char *tags = tags_text(&import->archive.tags);
	auto_free char *file = NULL;
	auto_free char *reference = NULL;
	bool existed = false;

	if (import->archive.images > 1 && !import->options->tag) {
		error_set(err, ERR_USAGE, "%s holds %zu images: %s", import->shown,
			  import->archive.images, tags);
		return error_hint(err, "name one of them: --tag %s",
				  import->archive.tags.count ? import->archive.tags.items[0]
							     : "TAG");
	}
	if (import->outer.kind == SNIFF_PACKED && unpack(import, err) < 0)
		return -1;
	/* Not by its path: skopeo ends that at its first colon. */
	file = os_file_name(import->fd);
	reference = xasprintf("%s:%s%s%s", is_oci ? "oci-archive" : "docker-archive", file,
			      import->options->tag ? ":" : "",
			      import->options->tag ? import->options->tag : "");
	if (ops_image_pull(import->ctx, reference, &pull, out_image, &existed, err) < 0)
		return -1;
	/* With --replace: it was made of the same, and nothing had to be done. */
	return existed && !import->options->replace
		       ? image_check_free(import->ctx, import->name, err)
		       : 0;
}

static void describe(const Import *import, Image *image)
{
	image->name = xstrdup(import->name);
	image->id = uuid_new();
	image->reference = xasprintf("local:%s", import->name);
	image->arch = source_machine(import->options->platform);
	image->created_at = time_text_now();
}

/* ember-image unpacks gzip and zstd itself. */
static int write_rootfs(Import *import, Image *image, Error **err)
{
	ImageSource source = { .tar_fd = import->fd, .config = import->options->config };
	auto_unpacker Unpacker unpacker = { .fd = -1 };
	const char *program = import->outer.unpacker;
	auto_error damage = NULL;
	int result;

	report_step(import->ctx, "write image '%s'", import->name);
	if (!program || !strcmp(program, "gzip") || !strcmp(program, "zstd"))
		return image_write(import->ctx, image, &source, err);
	if (unpacker_start(program, import->fd, import->dir, &unpacker, err) < 0)
		return -1;
	source.tar_fd = unpacker.fd;
	result = image_write(import->ctx, image, &source, err);
	if (result < 0 && error_code(err ? *err : NULL) == ERR_CANCELED)
		return -1;
	/* A stream that is damaged ends early, and that is the better explanation. */
	if (unpacker_finish(&unpacker, result < 0, &damage) < 0) {
		if (result < 0 && err)
			error_clear(err);
		error_move(err, &damage);
		return -1;
	}
	return result;
}

static int write_disk(Import *import, Image *image, Error **err)
{
	auto_free char *raw = path_join(import->dir, "disk.raw");

	if (import->outer.kind == SNIFF_PACKED && unpack(import, err) < 0)
		return -1;
	if (import->inner.kind == SNIFF_QCOW2) {
		if (qcow2_to_raw(import->ctx, import->path, raw, err) < 0)
			return -1;
		str_assign(&import->path, raw);
	}
	return import_disk(import->ctx, image, import->path, import->dir, import->options, err);
}

static int make(Import *import, Image *image, Error **err)
{
	auto_fd lock = -1;
	auto_free char *tmp = NULL;
	int result;

	if (store_lock_op(&import->ctx->store, "image", import->name, &lock, err) < 0 ||
	    (!import->options->replace && image_check_free(import->ctx, import->name, err) < 0))
		return -1;
	result = image_begin(import->ctx, image, &tmp, err);
	if (result == 0)
		result = is_rootfs(import) ? write_rootfs(import, image, err)
					   : write_disk(import, image, err);
	if (result == 0)
		result = image_commit(import->ctx, image, tmp, import->options->replace, err);
	if (result < 0)
		image_undo(import->ctx, import->name);
	return result;
}

static int run(Import *import, Image *out_image, Error **err)
{
	auto_image Image image = { 0 };

	if ((import->path ? look(import, import->fd, err) : look_at_pipe(import, err)) < 0)
		return -1;
	if (import->inner.kind == SNIFF_PACKED || import->inner.kind == SNIFF_OTHER)
		return refuse(import, err);
	if (check_options(import, err) < 0)
		return -1;
	if (import->inner.kind == SNIFF_TAR && !is_rootfs(import))
		return import_archive(import, out_image, err);
	describe(import, &image);
	if (make(import, &image, err) < 0)
		return -1;
	report_done(import->ctx);
	*out_image = image;
	image = (Image){ 0 };
	return 0;
}

int ops_image_import(Context *ctx, const char *name, const char *file, const ImportOptions *options,
		     Image *out_image, Error **err)
{
	CLEANUP(import_release)
	Import import = { .ctx = ctx, .options = options, .name = name, .file = file, .fd = -1 };
	auto_free char *dir = NULL;
	auto_fd lock = -1;

	/* Its own lock and directory: making the image is a step of its own, with locks of its own. */
	if (name_check("image", name, err) < 0 ||
	    source_check_platform(options->platform, err) < 0 ||
	    open_input(&import, file, err) < 0 || context_load_or_init(ctx, err) < 0 ||
	    change_begin(ctx, err) < 0 ||
	    (!options->replace && image_check_free(ctx, name, err) < 0) ||
	    store_lock_op(&ctx->store, "import", name, &lock, err) < 0)
		return -1;
	dir = store_tmp_dir(&ctx->store, "import", name);
	if (leftover_destroy(ctx, dir, err) < 0 || failpoint("image.import.work", err) < 0 ||
	    fs_mkdir(dir, 0700, err) < 0)
		return -1;
	import.dir = steal(&dir);
	if (run(&import, out_image, err) < 0)
		return error_wrap(err, "import image '%s'", name);
	return 0;
}
