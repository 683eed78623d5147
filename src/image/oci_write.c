#include "image/oci_write.h"

#include <jansson.h>

#include "image/oci.h"
#include "util/json.h"
#include "util/mem.h"

#define CONFIG_TYPE "application/vnd.oci.image.config.v1+json"
#define LAYER_TYPE  "application/vnd.oci.image.layer.v1.tar"

/* What is not said is left out, as docker and buildah do. */
static void put_text(json_t *obj, const char *key, const char *text)
{
	if (!str_is_empty(text))
		json_put_string(obj, key, text);
}

static void put_list(json_t *obj, const char *key, const Strv *list)
{
	if (list->count > 0)
		json_put_strv(obj, key, list);
}

static json_t *run_config(const ImageConfig *run)
{
	json_t *config = json_object();
	json_t *ports = json_object();

	put_text(config, "User", run->user);
	for (size_t i = 0; i < run->exposed_ports.count; i++)
		json_put_take(ports, run->exposed_ports.items[i], json_object());
	if (run->exposed_ports.count > 0)
		json_put_take(config, "ExposedPorts", json_incref(ports));
	json_decref(ports);
	put_list(config, "Env", &run->env);
	put_list(config, "Entrypoint", &run->entrypoint);
	put_list(config, "Cmd", &run->cmd);
	put_text(config, "WorkingDir", run->workdir);
	if (run->labels.count > 0)
		json_put_pairs(config, "Labels", &run->labels);
	put_text(config, "StopSignal", run->stop_signal);
	return config;
}

static json_t *array_of(json_t *item_take)
{
	json_t *array = json_array();

	(void)json_array_append_new(array, item_take);
	return array;
}

char *oci_config_text(const OciFacts *facts)
{
	json_auto_t *doc = json_object();
	json_t *rootfs = json_object();
	json_t *step = json_object();

	json_put_string(doc, "created", facts->created);
	json_put_string(doc, "architecture", facts->platform->architecture);
	put_text(doc, "variant", facts->platform->variant);
	json_put_string(doc, "os", facts->platform->os);
	json_put_take(doc, "config", run_config(facts->run));
	json_put_string(rootfs, "type", "layers");
	json_put_take(rootfs, "diff_ids", array_of(json_string(facts->diff_id)));
	json_put_take(doc, "rootfs", rootfs);
	json_put_string(step, "created", facts->created);
	json_put_string(step, "created_by", "ember");
	json_put_take(doc, "history", array_of(step));
	return json_text(doc);
}

static json_t *descriptor(const char *media_type, const char *digest, uint64_t size)
{
	json_t *obj = json_object();

	json_put_string(obj, "mediaType", media_type);
	json_put_string(obj, "digest", digest);
	json_put_u64(obj, "size", size);
	return obj;
}

char *oci_manifest_text(const char *config_digest, uint64_t config_size, const char *layer_digest,
			uint64_t layer_size, Compression compression)
{
	const char *layer_type = compression == COMPRESSION_GZIP   ? LAYER_TYPE "+gzip"
				 : compression == COMPRESSION_ZSTD ? LAYER_TYPE "+zstd"
								   : LAYER_TYPE;
	json_auto_t *doc = json_object();

	json_put_u64(doc, "schemaVersion", 2);
	json_put_string(doc, "mediaType", OCI_MANIFEST_TYPE);
	json_put_take(doc, "config", descriptor(CONFIG_TYPE, config_digest, config_size));
	json_put_take(doc, "layers", array_of(descriptor(layer_type, layer_digest, layer_size)));
	return json_text(doc);
}
