/*
 * The documents of an OCI layout: index, manifest, config. Whoever made the image wrote them.
 */
#include "fuzz.h"
#include "image/oci.h"
#include "util/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	OciDescriptors index = { 0 };
	OciManifest manifest = { 0 };
	OciConfig config = { 0 };
	auto_error err = NULL;

	if (oci_parse_index(text, size, &index, &err) < 0)
		CHECK(err);
	error_clear(&err);
	if (oci_parse_manifest(text, size, &manifest, &err) < 0)
		CHECK(err);
	error_clear(&err);
	if (oci_parse_config(text, size, &config, &err) < 0) {
		CHECK(err);
	} else {
		json_auto_t *document = image_config_to_json(&config.run);

		CHECK(json_is_object(document));
	}
	error_clear(&err);
	(void)oci_check_layout_file(text, size, &err);
	oci_descriptors_release(&index);
	oci_manifest_release(&manifest);
	oci_config_release(&config);
	return 0;
}
