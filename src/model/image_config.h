/*
 * How an image wants to be run: what its OCI config says of that. The document is the same in an image's record and, as
 * /usr/lib/ember/image.json, in its root filesystem.
 */
#pragma once

#include <jansson.h>

#include "util/error.h"
#include "util/str.h"

typedef struct ImageConfig {
	Strv entrypoint;
	Strv cmd;
	Strv env; /* NAME=VALUE */
	char *user;
	char *workdir;
	char *stop_signal;
	Strv exposed_ports;
	Strv labels; /* K=V */
} ImageConfig;

/* {"entrypoint":[],"cmd":[],"env":[],"user":"","workdir":"","stop_signal":"","exposed_ports":[],"labels":{}} */
json_t *image_config_to_json(const ImageConfig *config);
int image_config_from_json(const json_t *doc, ImageConfig *out_config, Error **err);

void image_config_release(ImageConfig *config);
#define auto_image_config CLEANUP(image_config_release)
