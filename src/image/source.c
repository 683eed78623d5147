#include "image/source.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "image/layers.h"
#include "model/oci.h"
#include "util/mem.h"

void source_release(Source *source)
{
	for (size_t i = 0; i < source->count; i++) {
		SourceLayer *layer = &source->layers[i];

		close_fd(&layer->fd);
		free(layer->name);
		free(layer->digest);
		free(layer->diff_id);
	}
	free(source->layers);
	free(source->digest);
	free(source->reference);
	oci_config_release(&source->config);
	*source = (Source){ 0 };
}

int source_add_tar(Source *source, int fd_take, const char *name, Error **err)
{
	auto_fd fd = fd_take;
	SourceLayer *layer;
	struct stat st;

	if (source->count == LAYERS_MAX) {
		error_set(err, ERR_UNSUPPORTED, "an image has at most %u layers", LAYERS_MAX);
		return error_hint(err, "put the content of some of them into one tar");
	}
	if (fstat(fd, &st) < 0 || S_ISDIR(st.st_mode)) {
		error_set(err, ERR_USAGE, "'%s' is not a tar file", name);
		return error_hint(err, "make one: tar -C '%s' -cf rootfs.tar .", name);
	}
	source->layers = xreallocarray(source->layers, source->count + 1, sizeof(*layer));
	layer = &source->layers[source->count++];
	*layer = (SourceLayer){
		.fd = steal_fd(&fd),
		.compression = COMPRESSION_GUESS,
		.size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : BLOB_UNKNOWN_SIZE,
		.name = xstrdup(name),
	};
	if (layer->size != BLOB_UNKNOWN_SIZE)
		source->total_bytes += layer->size;
	return 0;
}

int source_set_config(Source *source, const char *text, size_t length, Error **err)
{
	if (oci_parse_config(text, length, &source->config, err) < 0)
		return -1;
	if (!source->config.diff_ids.count)
		return 0;
	if (source->config.diff_ids.count != source->count)
		return error_set(err, ERR_FAILED, "the config has %zu diff_ids for %zu layers",
				 source->config.diff_ids.count, source->count);
	for (size_t i = 0; i < source->count; i++)
		str_assign(&source->layers[i].diff_id, source->config.diff_ids.items[i]);
	return 0;
}

void platform_release(Platform *platform)
{
	free(platform->os);
	free(platform->architecture);
	free(platform->variant);
	*platform = (Platform){ 0 };
}

int platform_parse(const char *text, Platform *out, Error **err)
{
	const char *slash = text ? strchr(text, '/') : NULL;
	const char *second = slash ? strchr(slash + 1, '/') : NULL;
	struct utsname host;

	if (!text) {
		if (uname(&host) < 0)
			return error_set(err, ERR_FAILED, "the machine does not name itself");
		*out = (Platform){ .os = xstrdup("linux"),
				   .architecture = xstrdup(oci_arch_of_machine(host.machine)),
				   .is_default = true };
		return 0;
	}
	if (!slash || slash == text || !slash[1] || second == slash + 1 || (second && !second[1])) {
		error_set(err, ERR_USAGE, "platform '%s' is not OS/ARCHITECTURE", text);
		return error_hint(err, "for example: --platform linux/amd64");
	}
	*out = (Platform){
		.os = xstrndup(text, (size_t)(slash - text)),
		.architecture = second ? xstrndup(slash + 1, (size_t)(second - slash - 1))
				       : xstrdup(slash + 1),
		.variant = second ? xstrdup(second + 1) : NULL,
	};
	return 0;
}
