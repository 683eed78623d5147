/*
 * Manifests and indexes from a registry: a digest that is accepted can be part of a path, sizes are sizes, and a failure
 * always explains itself.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "ops/image_manifest.h"
#include "util/mem.h"

static void check_pick(const json_t *doc, const char *tag)
{
	auto_free char *digest = manifest_pick(doc, "linux/amd64", tag);

	CHECK(!digest || (manifest_digest_hex(digest) && !strchr(digest, '/')));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_manifest Manifest manifest = { 0 };
	json_auto_t *doc = NULL;
	auto_error err = NULL;

	if (json_parse_text((const char *)data, size, &doc, &err) < 0)
		return 0;
	check_pick(doc, NULL);
	check_pick(doc, "latest");
	if (manifest_from_json(doc, &manifest, &err) < 0) {
		CHECK(err && !manifest.blobs);
		return 0;
	}
	CHECK(manifest.count >= 1 && manifest.count <= MANIFEST_BLOBS_MAX);
	for (size_t i = 0; i < manifest.count; i++)
		CHECK(manifest.blobs[i].digest && manifest.blobs[i].size_bytes <= INT64_MAX);
	return 0;
}
