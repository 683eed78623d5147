#include "image/layout_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/digest.h"
#include "image/oci.h"
#include "model/oci.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"

#define INDEX_TYPE  "application/vnd.oci.image.index.v1+json"
#define LAYOUT_TEXT "{\"imageLayoutVersion\":\"1.0.0\"}\n"

static int open_part(LayoutWriter *writer, LayoutPart part, Error **err)
{
	auto_free char *path = path_join(writer->blobs, ".ember-XXXXXX");

	writer->fds[part] = mkostemp(path, O_CLOEXEC);
	if (writer->fds[part] < 0)
		return error_set_errno(err, errno, "make a file in '%s'", writer->blobs);
	writer->temporary[part] = steal(&path);
	return 0;
}

int layout_writer_open(LayoutWriter *writer, const char *dir, Error **err)
{
	*writer = (LayoutWriter){ .dir = xstrdup(dir), .fds = { -1, -1, -1 } };
	writer->blobs = path_join(dir, "blobs/sha256");
	if (failpoint("image.layout.create", err) < 0 ||
	    fs_mkdir_all(writer->blobs, 0700, err) < 0 || failpoint("image.layout.blobs", err) < 0)
		return -1;
	for (LayoutPart part = LAYOUT_LAYER; part < LAYOUT_PARTS; part++)
		if (open_part(writer, part, err) < 0)
			return -1;
	return 0;
}

static int commit_part(LayoutWriter *writer, LayoutPart part, const char *digest, Error **err)
{
	auto_free char *path = path_join(writer->blobs, digest_hex(digest));

	/* What is there under this name already has the same content. */
	if (fs_sync_fd(writer->fds[part], writer->temporary[part], err) < 0 ||
	    fs_rename(writer->temporary[part], path, err) < 0)
		return -1;
	free(steal(&writer->temporary[part]));
	return 0;
}

/* The index as it is, or a new one. */
static int read_index(const char *path, json_t **out, Error **err)
{
	auto_free char *text = NULL;
	size_t length = 0;
	json_auto_t *doc = NULL;

	if (fs_exists(path)) {
		if (fs_read(path, OCI_MAX_DOCUMENT, &text, &length, err) < 0 ||
		    oci_parse_object(text, length, &doc, err) < 0)
			return error_wrap(err, "'%s'", path);
	} else {
		doc = json_object();
		json_put_u64(doc, "schemaVersion", 2);
		json_put_string(doc, "mediaType", INDEX_TYPE);
	}
	if (!json_is_array(json_object_get(doc, "manifests")))
		json_put_take(doc, "manifests", json_array());
	*out = steal(&doc);
	return 0;
}

static json_t *describe(const LayoutEntry *entry)
{
	json_t *obj = json_object();
	json_t *platform = json_object();

	json_put_string(obj, "mediaType", OCI_MANIFEST_TYPE);
	json_put_string(obj, "digest", entry->digests[LAYOUT_MANIFEST]);
	json_put_u64(obj, "size", entry->manifest_size);
	json_put_string(platform, "architecture", entry->platform->architecture);
	json_put_string(platform, "os", entry->platform->os);
	if (entry->platform->variant)
		json_put_string(platform, "variant", entry->platform->variant);
	json_put_take(obj, "platform", platform);
	if (entry->tag) {
		json_t *annotations = json_object();

		json_put_string(annotations, OCI_REF_NAME, entry->tag);
		json_put_take(obj, "annotations", annotations);
	}
	return obj;
}

static const char *tag_of(const json_t *manifest)
{
	return json_string_value(
		json_object_get(json_object_get(manifest, "annotations"), OCI_REF_NAME));
}

static int write_index(const LayoutWriter *writer, const LayoutEntry *entry, Error **err)
{
	auto_free char *path = path_join(writer->dir, "index.json");
	auto_free char *text = NULL;
	json_auto_t *doc = NULL;
	json_t *manifests;

	if (read_index(path, &doc, err) < 0)
		return -1;
	manifests = json_object_get(doc, "manifests");
	for (size_t i = json_array_size(manifests); i-- > 0;)
		if (str_equal(tag_of(json_array_get(manifests, i)), entry->tag))
			(void)json_array_remove(manifests, i);
	(void)json_array_append_new(manifests, describe(entry));
	text = json_text(doc);
	return fs_write_atomic(path, text, strlen(text), 0600, true, err);
}

static int write_version(const LayoutWriter *writer, Error **err)
{
	auto_free char *path = path_join(writer->dir, "oci-layout");

	if (fs_exists(path))
		return 0;
	return fs_write_atomic(path, LAYOUT_TEXT, strlen(LAYOUT_TEXT), 0600, true, err);
}

int layout_writer_commit(LayoutWriter *writer, const LayoutEntry *entry, Error **err)
{
	if (failpoint("image.layout.layer", err) < 0 ||
	    commit_part(writer, LAYOUT_LAYER, entry->digests[LAYOUT_LAYER], err) < 0 ||
	    failpoint("image.layout.config", err) < 0 ||
	    commit_part(writer, LAYOUT_CONFIG, entry->digests[LAYOUT_CONFIG], err) < 0 ||
	    failpoint("image.layout.manifest", err) < 0 ||
	    commit_part(writer, LAYOUT_MANIFEST, entry->digests[LAYOUT_MANIFEST], err) < 0 ||
	    fs_sync_path(writer->blobs, err) < 0)
		return -1;
	if (failpoint("image.layout.version", err) < 0 || write_version(writer, err) < 0 ||
	    failpoint("image.layout.index", err) < 0 || write_index(writer, entry, err) < 0)
		return -1;
	return 0;
}

void layout_writer_release(LayoutWriter *writer)
{
	for (LayoutPart part = LAYOUT_LAYER; part < LAYOUT_PARTS; part++) {
		close_fd(&writer->fds[part]);
		if (writer->temporary[part])
			(void)unlink(writer->temporary[part]);
		free(writer->temporary[part]);
	}
	free(writer->dir);
	free(writer->blobs);
}
