#include "ops/image_manifest.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/oci.h"
#include "util/json.h"
#include "util/mem.h"

void manifest_release(Manifest *manifest)
{
	for (size_t i = 0; i < manifest->count; i++)
		free(manifest->blobs[i].digest);
	free(manifest->blobs);
	*manifest = (Manifest){ 0 };
}

const char *manifest_digest_hex(const char *digest)
{
	const char *hex = digest && str_starts_with(digest, "sha256:") ? digest + 7 : NULL;

	return hex && strlen(hex) == 64 && strspn(hex, "0123456789abcdef") == 64 ? hex : NULL;
}

char *manifest_blob_path(const char *blobs_dir, const char *digest)
{
	const char *hex = manifest_digest_hex(digest);

	return hex ? xasprintf("%s/sha256/%s", blobs_dir, hex) : NULL;
}

bool manifest_blob_is_here(const char *blobs_dir, const ManifestBlob *blob)
{
	auto_free char *path = manifest_blob_path(blobs_dir, blob->digest);
	struct stat st;

	return path && lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == blob->size_bytes;
}

bool manifest_is_index(const json_t *doc)
{
	return json_is_array(json_object_get(doc, "manifests"));
}

static int add_blob(Manifest *manifest, const json_t *descriptor, Error **err)
{
	ManifestBlob *blob = &manifest->blobs[manifest->count];

	if (json_get_string(descriptor, "digest", &blob->digest, err) < 0)
		return -1;
	manifest->count++;
	return json_get_u64(descriptor, "size", INT64_MAX, &blob->size_bytes, err);
}

int manifest_from_json(const json_t *doc, Manifest *out_manifest, Error **err)
{
	auto_manifest Manifest manifest = { 0 };
	const json_t *layers = json_object_get(doc, "layers");
	size_t count = json_array_size(layers);

	if (!json_is_array(layers) || count >= MANIFEST_BLOBS_MAX)
		return error_set(err, ERR_FAILED, "it is no manifest of an image");
	manifest.blobs = xcalloc(count + 1, sizeof(*manifest.blobs));
	if (add_blob(&manifest, json_object_get(doc, "config"), err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (add_blob(&manifest, json_array_get(layers, i), err) < 0)
			return -1;
	*out_manifest = manifest;
	manifest = (Manifest){ 0 };
	return 0;
}

static bool has_platform(const json_t *entry, const char *wanted)
{
	const json_t *platform = json_object_get(entry, "platform");
	const char *os = json_string_value(json_object_get(platform, "os"));
	const char *arch = json_string_value(json_object_get(platform, "architecture"));
	const char *variant = json_string_value(json_object_get(platform, "variant"));
	auto_free char *plain = NULL;
	auto_free char *full = NULL;

	if (!os || !arch)
		return false;
	plain = xasprintf("%s/%s", os, arch);
	full = xasprintf("%s/%s", plain, variant ? variant : "");
	return str_equal(wanted, plain) || str_equal(wanted, full);
}

static bool has_tag(const json_t *entry, const char *tag)
{
	const json_t *annotations = json_object_get(entry, "annotations");

	return !tag ||
	       str_equal(json_string_value(json_object_get(annotations, OCI_REF_NAME)), tag);
}

char *manifest_pick(const json_t *index, const char *platform, const char *tag)
{
	const json_t *entries = json_object_get(index, "manifests");
	const json_t *only = NULL, *entry;
	size_t i, fitting = 0;
	const char *digest;

	json_array_foreach(entries, i, entry)
	{
		if (!has_tag(entry, tag))
			continue;
		fitting++;
		only = entry;
		if (has_platform(entry, platform))
			break;
	}
	if (i == json_array_size(entries) && (fitting != 1 || json_object_get(only, "platform")))
		return NULL;
	digest = json_string_value(json_object_get(only, "digest"));
	return manifest_digest_hex(digest) ? xstrdup(digest) : NULL;
}
