#include "ops/oci_archive.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "model/oci.h"
#include "ops/image_manifest.h"
#include "util/json.h"
#include "util/mem.h"

#define MANIFEST_TYPE	"application/vnd.oci.image.manifest.v1+json"
#define INDEX_TYPE	"application/vnd.oci.image.index.v1+json"
#define LAYOUT_DOCUMENT "{\"imageLayoutVersion\":\"1.0.0\"}"

void oci_blobs_release(OciBlobs *blobs)
{
	for (size_t i = 0; i < blobs->count; i++)
		free(blobs->items[i].digest);
	free(blobs->items);
	free(blobs->media_type);
	*blobs = (OciBlobs){ 0 };
}

static void push(OciBlobs *blobs, const char *digest, uint64_t size_bytes)
{
	for (size_t i = 0; i < blobs->count; i++)
		if (!strcmp(blobs->items[i].digest, digest))
			return; /* a layer that is used twice is there once */
	blobs->items = xreallocarray(blobs->items, blobs->count + 1, sizeof(*blobs->items));
	blobs->items[blobs->count++] =
		(ManifestBlob){ .digest = xstrdup(digest), .size_bytes = size_bytes };
	blobs->total_bytes += size_bytes;
}

int oci_blobs_find(const char *dir, const char *digest, OciBlobs *out_blobs, Error **err)
{
	auto_oci_blobs OciBlobs blobs = { 0 };
	auto_manifest Manifest manifest = { 0 };
	auto_free char *path = NULL;
	auto_free char *text = NULL;
	json_auto_t *doc = NULL;
	size_t len;

	path = manifest_blob_path(dir, digest);
	if (!path || !fs_exists(path))
		return 0;
	if (fs_read(path, JSON_TEXT_MAX, &text, &len, err) < 0 ||
	    json_parse_text(text, len, &doc, err) < 0 ||
	    manifest_from_json(doc, &manifest, err) < 0 ||
	    json_get_string_opt(doc, "mediaType", &blobs.media_type, err) < 0)
		return error_wrap(err, "manifest '%s'", digest);
	if (!blobs.media_type)
		blobs.media_type = xstrdup(MANIFEST_TYPE);
	push(&blobs, digest, len);
	for (size_t i = 0; i < manifest.count; i++) {
		const ManifestBlob *blob = &manifest.blobs[i];

		if (!manifest_blob_is_here(dir, blob))
			return 0;
		push(&blobs, blob->digest, blob->size_bytes);
	}
	*out_blobs = blobs;
	blobs = (OciBlobs){ 0 };
	return 1;
}

static char *index_text(const OciBlobs *blobs, const char *name)
{
	json_auto_t *index = json_object();
	json_t *manifests = json_array();
	json_t *manifest = json_object();
	json_t *annotations = json_object();

	json_put_string(annotations, OCI_REF_NAME, name);
	json_put_string(manifest, "mediaType", blobs->media_type);
	json_put_string(manifest, "digest", blobs->items[0].digest);
	json_put_u64(manifest, "size", blobs->items[0].size_bytes);
	json_put_take(manifest, "annotations", annotations);
	(void)json_array_append_new(manifests, manifest);
	json_put_u64(index, "schemaVersion", 2);
	json_put_string(index, "mediaType", INDEX_TYPE);
	json_put_take(index, "manifests", manifests);
	return json_text(index);
}

int oci_layout_write(const char *dir, const OciBlobs *blobs, const char *name, Error **err)
{
	auto_free char *index = index_text(blobs, name);
	auto_free char *index_path = path_join(dir, "index.json");
	auto_free char *layout_path = path_join(dir, "oci-layout");

	if (fs_write_new(layout_path, LAYOUT_DOCUMENT, strlen(LAYOUT_DOCUMENT), 0600, err) < 0)
		return -1;
	return fs_write_new(index_path, index, strlen(index), 0600, err);
}

/*
 * The tar of it: POSIX.1-1988 ustar. Sizes of 8 GiB and more are in base 256, which GNU tar, libarchive and Go know.
 */
#define TAR_BLOCK	 512
#define TAR_OCTAL_MAX	 ((1ULL << 33) - 1)
#define TAR_CHECKSUM	 148
#define TAR_CHECKSUM_LEN 8

static void put_octal(char *field, size_t width, uint64_t value)
{
	field[width - 1] = '\0';
	for (size_t i = width - 1; i-- > 0; value >>= 3)
		field[i] = (char)('0' + (value & 7));
}

static void put_size(char *field, size_t width, uint64_t value)
{
	if (value <= TAR_OCTAL_MAX) {
		put_octal(field, width, value);
		return;
	}
	for (size_t i = width; i-- > 0; value >>= 8)
		field[i] = (char)(value & 0xff);
	field[0] = (char)0x80;
}

static int write_header(int fd, const char *name, char type, uint64_t size, Error **err)
{
	char header[TAR_BLOCK] = { 0 };
	unsigned sum = 0;

	(void)stpncpy(header, name, 100);
	put_octal(header + 100, 8, type == '5' ? 0755 : 0644);
	put_octal(header + 108, 8, 0);
	put_octal(header + 116, 8, 0);
	put_size(header + 124, 12, size);
	put_octal(header + 136, 12, 0);
	memset(header + TAR_CHECKSUM, ' ', TAR_CHECKSUM_LEN);
	header[156] = type;
	(void)stpncpy(header + 257, "ustar", 6);
	header[263] = header[264] = '0'; /* version */
	for (size_t i = 0; i < sizeof(header); i++)
		sum += (unsigned char)header[i];
	put_octal(header + TAR_CHECKSUM, 7, sum);
	return fs_write_all(fd, header, sizeof(header), err);
}

static int write_padding(int fd, uint64_t size, Error **err)
{
	static const char zeros[TAR_BLOCK];
	size_t rest = (size_t)(size % TAR_BLOCK);

	return rest ? fs_write_all(fd, zeros, TAR_BLOCK - rest, err) : 0;
}

static int write_text(int fd, const char *name, const char *text, Error **err)
{
	size_t len = strlen(text);

	if (write_header(fd, name, '0', len, err) < 0 || fs_write_all(fd, text, len, err) < 0)
		return -1;
	return write_padding(fd, len, err);
}

static int write_blob(int fd, const char *dir, const ManifestBlob *blob, Error **err)
{
	auto_free char *path = manifest_blob_path(dir, blob->digest);
	auto_free char *name = xasprintf("blobs/sha256/%s", manifest_digest_hex(blob->digest));
	auto_fd from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (from < 0)
		return error_set_errno(err, errno, "open '%s'", path);
	if (write_header(fd, name, '0', blob->size_bytes, err) < 0 ||
	    fs_copy_range(from, 0, blob->size_bytes, fd, err) < 0)
		return -1;
	return write_padding(fd, blob->size_bytes, err);
}

int oci_archive_write(int fd, const char *blobs_dir, const OciBlobs *blobs, const char *name,
		      FsProgress progress, void *arg, Error **err)
{
	static const char end[2 * TAR_BLOCK];
	auto_free char *index = index_text(blobs, name);
	uint64_t done = 0;

	if (write_text(fd, "oci-layout", LAYOUT_DOCUMENT, err) < 0 ||
	    write_text(fd, "index.json", index, err) < 0 ||
	    write_header(fd, "blobs/", '5', 0, err) < 0 ||
	    write_header(fd, "blobs/sha256/", '5', 0, err) < 0)
		return -1;
	for (size_t i = 0; i < blobs->count; i++) {
		if (write_blob(fd, blobs_dir, &blobs->items[i], err) < 0)
			return -1;
		done += blobs->items[i].size_bytes;
		if (progress)
			progress(arg, done, blobs->total_bytes);
	}
	return fs_write_all(fd, end, sizeof(end), err);
}
