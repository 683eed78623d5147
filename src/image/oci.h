/*
 * The documents of an OCI image: index, manifest, config (OCI image-spec 1.1; docker's schema 2 is the same under other
 * media types). Text in, types out; what a document says is believed by nobody until its digest has been checked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/blob.h"
#include "model/image_config.h"
#include "util/error.h"
#include "util/str.h"

#define OCI_MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"

#define OCI_MAX_DOCUMENT (4u << 20)
#define OCI_MAX_DEPTH	 64u /* of nesting in a document */
#define OCI_MAX_NESTING	 4u  /* of indexes in indexes */

typedef enum OciMedia {
	OCI_INDEX,
	OCI_MANIFEST,
	OCI_CONFIG,
	OCI_LAYER,
	OCI_OTHER,
} OciMedia;

/* What kind of content a media type names, and for layers how it is compressed. */
OciMedia oci_media(const char *media_type, Compression *out_compression);

/* A reference to a blob. Platform fields are NULL when the document does not give them. */
typedef struct OciDescriptor {
	char *media_type;
	char *digest; /* valid by digest.h */
	uint64_t size;
	char *ref_name; /* org.opencontainers.image.ref.name, or NULL */
	char *os;
	char *architecture;
	char *variant;
} OciDescriptor;

typedef struct OciDescriptors {
	OciDescriptor *items;
	size_t count;
} OciDescriptors;

typedef struct OciManifest {
	OciDescriptor config;
	OciDescriptors layers;
} OciManifest;

typedef struct OciConfig {
	char *os; /* NULL when not given, as the next two */
	char *architecture;
	char *variant;
	int64_t created; /* seconds since 1970; 0 when not given */
	bool has_diff_ids;
	Strv diff_ids;

	ImageConfig run;
} OciConfig;

int oci_parse_index(const char *text, size_t length, OciDescriptors *out, Error **err);
int oci_parse_manifest(const char *text, size_t length, OciManifest *out, Error **err);
int oci_parse_config(const char *text, size_t length, OciConfig *out, Error **err);
/* {"imageLayoutVersion":"1.x.y"}: the file oci-layout. */
int oci_check_layout_file(const char *text, size_t length, Error **err);

/* Any document: an object, nested as deep as may be. The caller owns it. */
struct json_t;
int oci_parse_object(const char *text, size_t length, struct json_t **out, Error **err);

void oci_descriptor_release(OciDescriptor *descriptor);
void oci_descriptor_copy(OciDescriptor *to, const OciDescriptor *from); /* `to` is empty */
void oci_descriptors_release(OciDescriptors *list);
void oci_manifest_release(OciManifest *manifest);
void oci_config_release(OciConfig *config);
#define auto_descriptor	 CLEANUP(oci_descriptor_release)
#define auto_descriptors CLEANUP(oci_descriptors_release)
#define auto_manifest	 CLEANUP(oci_manifest_release)
#define auto_config	 CLEANUP(oci_config_release)
