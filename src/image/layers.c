#include "image/layers.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/name.h"
#include "image/tarcheck.h"
#include "image/xattr.h"
#include "util/mem.h"

#define MAX_ID	   0xfffffffell /* 2^32 - 1 means "no change" to chown(2) */
#define MAX_MAJOR  0xfffu	/* of ext4's device numbers */
#define MAX_MINOR  0xfffffu
#define MIN_MTIME  (-2147483648ll)		     /* 1901 */
#define MAX_MTIME  (4 * 4294967296ll - 2147483649ll) /* 2446 */
#define MAX_TARGET 4095u

/* The tar of one layer under libarchive's callbacks. */
typedef struct Reader {
	LayerContext *context;
	struct archive *archive;
	Blob *blob;
	TarCheck check;
	uint64_t members; /* that libarchive has shown */
	bool ended;
	Error *error; /* of a callback; libarchive only knows that there was one */
} Reader;

static void reader_release(Reader *reader)
{
	if (reader->archive)
		(void)archive_read_free(reader->archive);
	blob_close(reader->blob);
	tarcheck_release(&reader->check);
	error_clear(&reader->error);
}

/* The stream's next bytes, looked at; 0 at its end. */
static ssize_t next_bytes(Reader *reader, const void **out_data, Error **err)
{
	ssize_t size = blob_read(reader->blob, out_data, err);

	if (size > 0 && tarcheck_feed(&reader->check, *out_data, (size_t)size, err) < 0)
		return -1;
	if (size == 0) {
		reader->ended = true;
		if (tarcheck_end(&reader->check, err) < 0)
			return -1;
	}
	return size;
}

static la_ssize_t on_read(struct archive *archive, void *arg, const void **out_data)
{
	Reader *reader = arg;
	ssize_t size = reader->ended ? 0 : next_bytes(reader, out_data, &reader->error);

	if (size < 0)
		archive_set_error(archive, EIO, "see the reader's error");
	return size;
}

/* Our own error if a callback made one, else libarchive's. */
static int fail_archive(Reader *reader, Error **err)
{
	const char *text = archive_error_string(reader->archive);

	if (reader->error) {
		error_move(err, &reader->error);
		return -1;
	}
	return error_set(err, ERR_FAILED, "the layer's tar is damaged: %s",
			 text ? text : "unknown");
}

static int open_archive(Reader *reader, Error **err)
{
	reader->archive = archive_read_new();
	if (!reader->archive)
		abort(); /* out of memory, as in mem.h */
	(void)archive_read_support_format_tar(reader->archive);
	(void)archive_read_support_format_empty(reader->archive);
	if (archive_read_open2(reader->archive, reader, NULL, on_read, NULL, NULL) != ARCHIVE_OK)
		return fail_archive(reader, err);
	return 0;
}

/* Once for each attribute, not for each of a thousand files that have it. */
static void warn_dropped(LayerContext *context, struct archive_entry *entry, const char *name)
{
	auto_free char *message = NULL;

	if (context->dropped_xattrs.count == LAYERS_MAX_DROPPED ||
	    strv_has(&context->dropped_xattrs, name))
		return;
	strv_push(&context->dropped_xattrs, name);
	message = xasprintf("extended attribute '%s' of '%s' and others was left out", name,
			    archive_entry_pathname(entry));
	if (context->on_warning)
		context->on_warning(message);
}

static int read_xattr(LayerContext *context, struct archive_entry *entry, Inode *inode,
		      const Xattr *item, Error **err)
{
	XattrVerdict verdict;

	context->xattr_bytes += item->size + strlen(item->name);
	if (context->xattr_bytes > LAYERS_MAX_XATTR_BYTES)
		return error_set(err, ERR_UNSUPPORTED, "extended attributes exceed 64 MiB in all");
	if (xattr_accept(inode, item->name, item->value, item->size, &verdict, err) < 0)
		return -1;
	if (verdict == XATTR_DROPPED)
		warn_dropped(context, entry, item->name);
	return 0;
}

/* libarchive lists the records of a header backwards, and of equal names the last one wins. */
static int read_xattrs(Reader *reader, struct archive_entry *entry, const TarOverride *override,
		       Inode *inode, Error **err)
{
	const XattrList *list = override->has_xattrs ? override->attributes->xattrs : NULL;
	Xattr item;
	const char *name;
	const void *value;

	for (size_t i = 0; list && i < list->count; i++)
		if (read_xattr(reader->context, entry, inode, &list->items[i], err) < 0)
			return -1;
	(void)archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &item.size) == ARCHIVE_OK) {
		/* Borrowed for this call: nothing changes them. */
		item.name = (char *)(uintptr_t)name;
		item.value = (void *)(uintptr_t)value;
		if (!inode_has_xattr(inode, name) &&
		    read_xattr(reader->context, entry, inode, &item, err) < 0)
			return -1;
	}
	if (inode_xattr_bytes(inode) > XATTR_MAX_BYTES)
		return error_set(err, ERR_UNSUPPORTED,
				 "extended attributes exceed 64 KiB for one file");
	return 0;
}

static int read_device(struct archive_entry *entry, Inode *inode, Error **err)
{
	uint64_t major = archive_entry_rdevmajor(entry);
	uint64_t minor = archive_entry_rdevminor(entry);

	if (major > MAX_MAJOR || minor > MAX_MINOR)
		return error_set(err, ERR_UNSUPPORTED, "device number %llu:%llu is out of range",
				 (unsigned long long)major, (unsigned long long)minor);
	inode->device.major = (uint32_t)major;
	inode->device.minor = (uint32_t)minor;
	return 0;
}

static int read_target(struct archive_entry *entry, Inode *inode, Error **err)
{
	const char *target = archive_entry_symlink(entry);
	size_t length = target ? strlen(target) : 0;

	if (!length || length > MAX_TARGET)
		return error_set(err, ERR_UNSUPPORTED,
				 "a symlink's target has %zu bytes, not 1 to %u", length,
				 MAX_TARGET);
	inode->target = xstrdup(target);
	inode->size = length;
	return 0;
}

static int read_attributes(Reader *reader, struct archive_entry *entry, Inode *inode, Error **err)
{
	int64_t uid = archive_entry_uid(entry);
	int64_t gid = archive_entry_gid(entry);
	auto_override TarOverride override =
		tarcheck_take_override(&reader->check, reader->members);
	int64_t mtime = override.has_mtime ? override.attributes->mtime
					   : archive_entry_mtime(entry);

	if (uid < 0 || uid > MAX_ID || gid < 0 || gid > MAX_ID)
		return error_set(err, ERR_UNSUPPORTED, "owner %lld:%lld is out of range",
				 (long long)uid, (long long)gid);
	if (mtime < MIN_MTIME || mtime > MAX_MTIME)
		return error_set(err, ERR_UNSUPPORTED, "modification time %lld is out of range",
				 (long long)mtime);
	inode->uid = (uint32_t)uid;
	inode->gid = (uint32_t)gid;
	inode->mtime = mtime;
	inode->mtime_ns = override.has_mtime ? override.attributes->mtime_ns
					     : (uint32_t)archive_entry_mtime_nsec(entry);
	return read_xattrs(reader, entry, &override, inode, err);
}

/* Content to the disk, holes left out. */
static int read_content(Reader *reader, struct archive_entry *entry, Inode *inode, Error **err)
{
	uint64_t end = 0;
	int64_t size = archive_entry_size(entry);

	if (size < 0 || (uint64_t)size > reader->context->max_bytes) {
		error_set(err, ERR_UNSUPPORTED,
			  "a file of %lld bytes is larger than the image may be", (long long)size);
		return error_hint(err, "allow more with --max-size");
	}
	inode->size = (uint64_t)size;
	for (;;) {
		const void *data;
		size_t part;
		la_int64_t offset;
		int status = archive_read_data_block(reader->archive, &data, &part, &offset);

		if (status == ARCHIVE_EOF)
			return 0;
		if (status != ARCHIVE_OK)
			return fail_archive(reader, err);
		if (!part)
			continue;
		if (offset < 0 || (uint64_t)offset < end || part > inode->size ||
		    (uint64_t)offset > inode->size - part)
			return error_set(err, ERR_FAILED, "the layer's sparse map is damaged");
		end = (uint64_t)offset + part;
		if (disk_append(reader->context->disk, inode, (uint64_t)offset, data, part, err) <
		    0)
			return -1;
	}
}

static int read_file(Reader *reader, struct archive_entry *entry, Inode **out_inode, Error **err)
{
	uint32_t type = archive_entry_filetype(entry);
	uint32_t permissions = type == AE_IFLNK ? 0777u : archive_entry_perm(entry) & 07777u;
	auto_inode Inode *inode = inode_new(type | permissions);
	int status = read_attributes(reader, entry, inode, err);

	if (status < 0)
		return -1;
	switch (type) {
	case AE_IFREG:
		status = read_content(reader, entry, inode, err);
		break;
	case AE_IFLNK:
		status = read_target(entry, inode, err);
		break;
	case AE_IFCHR:
	case AE_IFBLK:
		status = read_device(entry, inode, err);
		break;
	case AE_IFDIR:
	case AE_IFIFO:
		break;
	default:
		return error_set(err, ERR_UNSUPPORTED, "a file of unknown type 0%o", type);
	}
	if (status == 0)
		*out_inode = steal(&inode);
	return status;
}

/* A marker, or nothing at all. */
static void add_marker(Layer *layer, NameKind kind, char *path_take)
{
	auto_free char *path = path_take;

	if (kind != NAME_IGNORED)
		layer_add(layer, kind == NAME_OPAQUE ? ENTRY_OPAQUE : ENTRY_WHITEOUT, steal(&path),
			  NULL, NULL);
}

static int add_file(Reader *reader, struct archive_entry *entry, Layer *layer, char *path_take,
		    Error **err)
{
	auto_free char *path = path_take;
	auto_free char *target = NULL;
	auto_inode Inode *inode = NULL;
	const char *raw_target = archive_entry_hardlink(entry);

	if (raw_target) {
		if (name_clean(raw_target, strlen(raw_target), &target, err) < 0)
			return error_wrap(err, "hard link '%s'", path);
		layer_add(layer, ENTRY_LINK, steal(&path), steal(&target), NULL);
		return 0;
	}
	if (read_file(reader, entry, &inode, err) < 0)
		return error_wrap(err, "read '/%s'", path);
	layer_add(layer, ENTRY_FILE, steal(&path), NULL, steal(&inode));
	return 0;
}

static int read_entry(Reader *reader, struct archive_entry *entry, Layer *layer, Error **err)
{
	const char *raw = archive_entry_pathname(entry);
	bool is_directory = !archive_entry_hardlink(entry) &&
			    archive_entry_filetype(entry) == AE_IFDIR;
	char *path = NULL;
	NameKind kind = NAME_PLAIN;

	if (++reader->context->entries > LAYERS_MAX_ENTRIES)
		return error_set(err, ERR_UNSUPPORTED, "the layers have more than %u entries",
				 LAYERS_MAX_ENTRIES);
	if (!raw)
		return error_set(err, ERR_FAILED, "a member of the layer has no name");
	if (name_parse(raw, strlen(raw), is_directory, &kind, &path, err) < 0)
		return -1;
	if (kind == NAME_PLAIN)
		return add_file(reader, entry, layer, path, err);
	add_marker(layer, kind, path);
	return 0;
}

static int read_entries(Reader *reader, Layer *layer, Error **err)
{
	for (;;) {
		struct archive_entry *entry;
		int status = archive_read_next_header(reader->archive, &entry);

		if (status == ARCHIVE_EOF)
			return 0;
		/* A warning is that a name is not UTF-8: it is then taken as it is. */
		if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
			return fail_archive(reader, err);
		reader->members++;
		if (read_entry(reader, entry, layer, err) < 0)
			return -1;
		if (layer_go_on(layer, err) < 0)
			return -1;
	}
}

/* What libarchive did not want to see: the end of the stream, its checks and its digests. */
static int read_rest(Reader *reader, char **out_diff_id, Error **err)
{
	const void *data;
	ssize_t size = 1;

	if (reader->error)
		return fail_archive(reader, err);
	while (!reader->ended && size > 0)
		size = next_bytes(reader, &data, err);
	return size < 0 ? -1 : blob_finish(reader->blob, out_diff_id, err);
}

int layer_stream(LayerContext *context, const BlobSpec *spec, Layer *layer, char **out_diff_id,
		 Error **err)
{
	CLEANUP(reader_release) Reader reader = { .context = context };

	reader.blob = blob_open(spec, &context->meter);
	if (open_archive(&reader, err) < 0 || read_entries(&reader, layer, err) < 0 ||
	    read_rest(&reader, out_diff_id, err) < 0) {
		blob_explain(reader.blob, err);
		return -1;
	}
	return disk_flush(context->disk, err);
}
