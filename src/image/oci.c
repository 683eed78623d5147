#include "image/oci.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "image/digest.h"
#include "model/oci.h"
#include "util/json.h"
#include "util/mem.h"

static const struct {
	const char *type;
	OciMedia media;
	Compression compression;
} media_types[] = {
	{ "application/vnd.oci.image.index.v1+json", OCI_INDEX, COMPRESSION_NONE },
	{ "application/vnd.oci.image.manifest.v1+json", OCI_MANIFEST, COMPRESSION_NONE },
	{ "application/vnd.oci.image.config.v1+json", OCI_CONFIG, COMPRESSION_NONE },
	{ "application/vnd.oci.image.layer.v1.tar", OCI_LAYER, COMPRESSION_NONE },
	{ "application/vnd.oci.image.layer.v1.tar+gzip", OCI_LAYER, COMPRESSION_GZIP },
	{ "application/vnd.oci.image.layer.v1.tar+zstd", OCI_LAYER, COMPRESSION_ZSTD },
	{ "application/vnd.oci.image.layer.nondistributable.v1.tar", OCI_LAYER, COMPRESSION_NONE },
	{ "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", OCI_LAYER,
	  COMPRESSION_GZIP },
	{ "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", OCI_LAYER,
	  COMPRESSION_ZSTD },
	{ "application/vnd.docker.distribution.manifest.list.v2+json", OCI_INDEX,
	  COMPRESSION_NONE },
	{ "application/vnd.docker.distribution.manifest.v2+json", OCI_MANIFEST, COMPRESSION_NONE },
	{ "application/vnd.docker.container.image.v1+json", OCI_CONFIG, COMPRESSION_NONE },
	{ "application/vnd.docker.image.rootfs.diff.tar", OCI_LAYER, COMPRESSION_NONE },
	{ "application/vnd.docker.image.rootfs.diff.tar.gzip", OCI_LAYER, COMPRESSION_GZIP },
	{ "application/vnd.docker.image.rootfs.diff.tar.zstd", OCI_LAYER, COMPRESSION_ZSTD },
	{ "application/vnd.docker.image.rootfs.foreign.diff.tar", OCI_LAYER, COMPRESSION_NONE },
	{ "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", OCI_LAYER,
	  COMPRESSION_GZIP },
};

OciMedia oci_media(const char *media_type, Compression *out_compression)
{
	for (size_t i = 0; i < ARRAY_SIZE(media_types); i++) {
		if (strcmp(media_type, media_types[i].type) != 0)
			continue;
		*out_compression = media_types[i].compression;
		return media_types[i].media;
	}
	return OCI_OTHER;
}

void oci_descriptor_release(OciDescriptor *descriptor)
{
	free(descriptor->media_type);
	free(descriptor->digest);
	free(descriptor->ref_name);
	free(descriptor->os);
	free(descriptor->architecture);
	free(descriptor->variant);
	*descriptor = (OciDescriptor){ 0 };
}

void oci_descriptor_copy(OciDescriptor *to, const OciDescriptor *from)
{
	*to = (OciDescriptor){
		.media_type = xstrdup(from->media_type),
		.digest = xstrdup(from->digest),
		.size = from->size,
		.ref_name = xstrdup_null(from->ref_name),
		.os = xstrdup_null(from->os),
		.architecture = xstrdup_null(from->architecture),
		.variant = xstrdup_null(from->variant),
	};
}

void oci_descriptors_release(OciDescriptors *list)
{
	for (size_t i = 0; i < list->count; i++)
		oci_descriptor_release(&list->items[i]);
	free(list->items);
	*list = (OciDescriptors){ 0 };
}

void oci_manifest_release(OciManifest *manifest)
{
	oci_descriptor_release(&manifest->config);
	oci_descriptors_release(&manifest->layers);
}

void oci_config_release(OciConfig *config)
{
	free(config->os);
	free(config->architecture);
	free(config->variant);
	strv_release(&config->diff_ids);
	image_config_release(&config->run);
	*config = (OciConfig){ 0 };
}

/* jansson's own limit of nesting is far above ours, and its recursion pays for it. */
static int check_depth(const char *text, size_t length, Error **err)
{
	unsigned depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '[') && ++depth > OCI_MAX_DEPTH)
			return error_set(err, ERR_UNSUPPORTED,
					 "document is nested more than %u deep", OCI_MAX_DEPTH);
		else if (!in_string && (c == '}' || c == ']') && depth > 0)
			depth--;
	}
	return 0;
}

int oci_parse_object(const char *text, size_t length, json_t **out, Error **err)
{
	json_auto_t *doc = NULL;

	if (check_depth(text, length, err) < 0 || json_parse_text(text, length, &doc, err) < 0)
		return -1;
	if (!json_is_object(doc))
		return error_set(err, ERR_FAILED, "document is not a JSON object");
	*out = steal(&doc);
	return 0;
}

static int parse_descriptor(const json_t *obj, OciDescriptor *out, Error **err)
{
	const json_t *annotations = NULL;
	const json_t *platform = NULL;

	if (!json_is_object(obj))
		return error_set(err, ERR_FAILED, "a descriptor is not an object");
	if (json_get_string(obj, "mediaType", &out->media_type, err) < 0 ||
	    json_get_string(obj, "digest", &out->digest, err) < 0 ||
	    json_get_u64(obj, "size", INT64_MAX, &out->size, err) < 0 ||
	    json_get_object_opt(obj, "annotations", &annotations, err) < 0 ||
	    json_get_object_opt(obj, "platform", &platform, err) < 0)
		return -1;
	if (!digest_is_valid(out->digest)) {
		str_make_printable(out->digest);
		return error_set(err, ERR_UNSUPPORTED, "digest '%.160s' is not sha256 or sha512",
				 out->digest);
	}
	if (annotations && json_get_string_opt(annotations, OCI_REF_NAME, &out->ref_name, err) < 0)
		return -1;
	if (platform &&
	    (json_get_string_opt(platform, "os", &out->os, err) < 0 ||
	     json_get_string_opt(platform, "architecture", &out->architecture, err) < 0 ||
	     json_get_string_opt(platform, "variant", &out->variant, err) < 0))
		return -1;
	return 0;
}

static int parse_descriptors(const json_t *array, OciDescriptors *out, Error **err)
{
	size_t count = json_array_size(array);

	out->items = xcalloc(count, sizeof(*out->items));
	for (size_t i = 0; i < count; i++) {
		out->count++;
		if (parse_descriptor(json_array_get(array, i), &out->items[i], err) < 0)
			return error_wrap(err, "entry %zu", i);
	}
	return 0;
}

/* Both documents may name their own type; it must be the one they were found under, and schema 2. */
static int check_kind(const json_t *doc, OciMedia wanted, Error **err)
{
	auto_free char *media_type = NULL;
	Compression unused;
	uint64_t schema = 0;

	if (json_get_u64(doc, "schemaVersion", 1000, &schema, err) < 0 ||
	    json_get_string_opt(doc, "mediaType", &media_type, err) < 0)
		return -1;
	if (schema != 2) {
		error_set(err, ERR_UNSUPPORTED, "schema version %llu is not supported, only 2",
			  (unsigned long long)schema);
		return error_hint(err, "push the image again with a current tool");
	}
	if (media_type && oci_media(media_type, &unused) != wanted)
		return error_set(err, ERR_FAILED, "document calls itself '%.100s'",
				 str_make_printable(media_type));
	if (json_object_get(doc, "manifests") && json_object_get(doc, "layers"))
		return error_set(err, ERR_FAILED, "document is both an index and a manifest");
	return 0;
}

int oci_parse_index(const char *text, size_t length, OciDescriptors *out, Error **err)
{
	json_auto_t *doc = NULL;
	auto_descriptors OciDescriptors list = { 0 };
	const json_t *manifests = NULL;

	if (oci_parse_object(text, length, &doc, err) < 0 || check_kind(doc, OCI_INDEX, err) < 0 ||
	    json_get_array_opt(doc, "manifests", &manifests, err) < 0)
		return -1;
	if (!manifests)
		return error_set(err, ERR_FAILED, "field 'manifests' is missing");
	if (parse_descriptors(manifests, &list, err) < 0)
		return -1;
	*out = list;
	list = (OciDescriptors){ 0 };
	return 0;
}

int oci_parse_manifest(const char *text, size_t length, OciManifest *out, Error **err)
{
	json_auto_t *doc = NULL;
	auto_manifest OciManifest manifest = { 0 };
	const json_t *config = NULL;
	const json_t *layers = NULL;

	if (oci_parse_object(text, length, &doc, err) < 0 ||
	    check_kind(doc, OCI_MANIFEST, err) < 0 ||
	    json_get_object_opt(doc, "config", &config, err) < 0 ||
	    json_get_array_opt(doc, "layers", &layers, err) < 0)
		return -1;
	if (!config)
		return error_set(err, ERR_FAILED, "field 'config' is missing");
	if (parse_descriptor(config, &manifest.config, err) < 0)
		return error_wrap(err, "config");
	if (layers && parse_descriptors(layers, &manifest.layers, err) < 0)
		return error_wrap(err, "layers");
	*out = manifest;
	manifest = (OciManifest){ 0 };
	return 0;
}

/* RFC 3339, to the second and in UTC: fractions and offsets change no bit that matters here. 0 when it is none. */
static int64_t parse_time(const char *text)
{
	struct tm tm = { 0 };

	if (!text || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
			    &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return tm.tm_year >= 70 && tm.tm_year < 200 ? (int64_t)timegm(&tm) : 0;
}

static int parse_rootfs(const json_t *doc, OciConfig *out, Error **err)
{
	const json_t *rootfs = NULL;

	if (json_get_object_opt(doc, "rootfs", &rootfs, err) < 0)
		return -1;
	if (!rootfs)
		return 0;
	out->has_diff_ids = true;
	if (json_get_strv_opt(rootfs, "diff_ids", &out->diff_ids, err) < 0)
		return -1;
	for (size_t i = 0; i < out->diff_ids.count; i++)
		if (!digest_is_valid(out->diff_ids.items[i]))
			return error_set(err, ERR_UNSUPPORTED,
					 "diff_id %zu is not sha256 or sha512", i);
	return 0;
}

static int parse_run(const json_t *run, ImageConfig *out, Error **err)
{
	const json_t *ports = NULL;
	const json_t *value;
	const char *key;

	if (json_get_strv_opt(run, "Entrypoint", &out->entrypoint, err) < 0 ||
	    json_get_strv_opt(run, "Cmd", &out->cmd, err) < 0 ||
	    json_get_strv_opt(run, "Env", &out->env, err) < 0 ||
	    json_get_string_opt(run, "User", &out->user, err) < 0 ||
	    json_get_string_opt(run, "WorkingDir", &out->workdir, err) < 0 ||
	    json_get_string_opt(run, "StopSignal", &out->stop_signal, err) < 0 ||
	    json_get_object_opt(run, "ExposedPorts", &ports, err) < 0 ||
	    json_get_pairs_opt(run, "Labels", &out->labels, err) < 0)
		return -1;
	/* jansson's loop takes a mutable object, and changes nothing in it. */
	json_object_foreach((json_t *)(uintptr_t)ports, key, value)
	{
		strv_push(&out->exposed_ports, key);
	}
	return 0;
}

int oci_parse_config(const char *text, size_t length, OciConfig *out, Error **err)
{
	json_auto_t *doc = NULL;
	auto_config OciConfig config = { 0 };
	auto_free char *created = NULL;
	const json_t *run = NULL;

	if (oci_parse_object(text, length, &doc, err) < 0 ||
	    json_get_string_opt(doc, "os", &config.os, err) < 0 ||
	    json_get_string_opt(doc, "architecture", &config.architecture, err) < 0 ||
	    json_get_string_opt(doc, "variant", &config.variant, err) < 0 ||
	    json_get_string_opt(doc, "created", &created, err) < 0 ||
	    parse_rootfs(doc, &config, err) < 0 ||
	    json_get_object_opt(doc, "config", &run, err) < 0 ||
	    (run && parse_run(run, &config.run, err) < 0))
		return -1;
	config.created = parse_time(created);
	*out = config;
	config = (OciConfig){ 0 };
	return 0;
}

int oci_check_layout_file(const char *text, size_t length, Error **err)
{
	json_auto_t *doc = NULL;
	auto_free char *version = NULL;

	if (oci_parse_object(text, length, &doc, err) < 0 ||
	    json_get_string(doc, "imageLayoutVersion", &version, err) < 0)
		return -1;
	if (!str_starts_with(version, "1."))
		return error_set(err, ERR_UNSUPPORTED, "layout version '%.40s' is not supported",
				 str_make_printable(version));
	return 0;
}
