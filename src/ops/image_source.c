#include "ops/image_source.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "model/image.h"
#include "model/oci.h"
#include "ops/archive_look.h"
#include "ops/sniff.h"
#include "ops/unpack.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

#define TAR_BLOCK 512 /* enough to know it from a packed one */

void source_release(Source *source)
{
	free(source->layout);
	free(source->layout_dir);
	free(source->layout_tag);
	free(source->transport);
	free(source->reference);
	free(source->name);
	free(source->host);
	free(source->repository);
	*source = (Source){ 0 };
}

/* The first name in an archive that may be packed; owned, or NULL. */
static char *first_tag(const char *path, ArchiveKind kind)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	auto_unpacker Unpacker unpacker = { .fd = -1 };
	unsigned char begin[TAR_BLOCK];
	ssize_t len = fd < 0 ? -1 : pread(fd, begin, sizeof(begin), 0);
	Sniffed sniffed;

	if (len <= 0)
		return NULL;
	sniffed = sniff(begin, (size_t)len);
	if (sniffed.kind == SNIFF_TAR)
		return archive_first_tag(fd, kind);
	if (sniffed.kind != SNIFF_PACKED ||
	    unpacker_start(sniffed.unpacker, fd, NULL, &unpacker, NULL) < 0)
		return NULL;
	return archive_first_tag(unpacker.fd, kind);
}

/* The annotation that names an entry of an OCI archive is often only a tag. */
static char *archive_reference(const char *path, ArchiveKind kind)
{
	auto_free char *tag = first_tag(path, kind);

	return tag && (kind == ARCHIVE_DOCKER || strpbrk(tag, "/:")) ? steal(&tag) : NULL;
}

/* What an archive calls its image, as a local name; owned, or NULL when it does not say. `tail`: ":REFERENCE" or "". */
static char *archive_name(const char *prefix, const char *path, const char *tail)
{
	auto_free char *reference = NULL;
	CLEANUP(image_ref_release) ImageRef ref = { 0 };

	if (!strcmp(prefix, "oci:"))
		return NULL;
	if (*tail && strpbrk(tail + 1, "/:"))
		reference = xstrdup(tail + 1);
	else if (!*tail)
		reference = archive_reference(
			path, !strcmp(prefix, "docker-archive:") ? ARCHIVE_DOCKER : ARCHIVE_OCI);
	return reference && image_ref_parse(reference, &ref, NULL) == 0 ? image_ref_local_name(&ref)
									: NULL;
}

/* Where the path ends and the tag begins, as ember-image decides: all of it if that exists, else up to the first colon
 * with something there before it. NULL when nothing is. */
static char *path_part(const char *text)
{
	if (*text && fs_exists(text))
		return xstrdup(text);
	for (const char *colon = strchr(text, ':'); colon; colon = strchr(colon + 1, ':')) {
		auto_free char *path = xstrndup(text, (size_t)(colon - text));

		if (*path && fs_exists(path))
			return steal(&path);
	}
	return NULL;
}

/* A local path: made absolute, checked, and named after its last part and tag. */
static int parse_path(const char *reference, const char *prefix, Source *source, Error **err)
{
	const char *rest = reference + strlen(prefix), *tail;
	auto_free char *path = path_part(rest);
	auto_free char *absolute = NULL;
	auto_free char *label = NULL;

	if (!path) {
		error_set(err, *rest && *rest != ':' ? ERR_NOT_FOUND : ERR_USAGE,
			  "'%s' names no existing path", reference);
		return error_hint(err, "write it like %sPATH or %sPATH:TAG", prefix, prefix);
	}
	tail = rest + strlen(path);
	if (path_absolute(path, &absolute, err) < 0)
		return -1;
	while (strlen(absolute) > 1 && str_ends_with(absolute, "/"))
		absolute[strlen(absolute) - 1] = '\0';
	label = xasprintf("%s%s", path_basename(absolute), tail);
	source->name = archive_name(prefix, absolute, tail);
	if (!source->name)
		source->name = image_name_from_text(label);
	source->reference = xasprintf("%s%s%s", prefix, absolute, tail);
	if (!strcmp(prefix, "oci:")) {
		source->layout = xasprintf("%s%s", absolute, tail);
		source->layout_dir = xstrdup(absolute);
		source->layout_tag = *tail ? xstrdup(tail + 1) : NULL;
	} else {
		source->transport = xstrdup(source->reference);
	}
	return 0;
}

int source_parse(const char *reference, Source *out_source, Error **err)
{
	static const char *const prefixes[] = { "oci:", "oci-archive:", "docker-archive:" };
	auto_source Source source = { 0 };
	CLEANUP(image_ref_release) ImageRef ref = { 0 };
	bool is_path = false;

	for (size_t i = 0; i < ARRAY_SIZE(prefixes) && !is_path; i++) {
		is_path = str_starts_with(reference, prefixes[i]);
		if (is_path && parse_path(reference, prefixes[i], &source, err) < 0)
			return -1;
	}
	if (!is_path) {
		if (image_ref_parse(reference, &ref, err) < 0)
			return -1;
		source.host = xstrdup(ref.host);
		source.repository = xasprintf("%s/%s", ref.host, ref.repository);
		source.reference = image_ref_text(&ref);
		source.name = image_ref_local_name(&ref);
		source.transport = xasprintf("docker://%s", source.reference);
	}
	*out_source = source;
	source = (Source){ 0 };
	return 0;
}

int source_check_platform(const char *platform, Error **err)
{
	if (!platform || (str_starts_with(platform, "linux/") && platform[6] != '/' &&
			  !str_ends_with(platform, "/")))
		return 0;
	error_set(err, ERR_USAGE, "--platform: '%s' is not os/arch of a Linux image", platform);
	return error_hint(err, "write it like --platform linux/amd64");
}

char *source_platform(const char *platform)
{
	if (platform)
		return xstrdup(platform);
	return xasprintf("linux/%s", oci_arch_of_machine(os_machine()));
}

char *source_machine(const char *platform)
{
	const char *word = platform ? platform + strlen("linux/") : NULL;
	auto_free char *arch = word ? xstrndup(word, strcspn(word, "/")) : NULL;

	return xstrdup(arch ? oci_machine_of_arch(arch) : os_machine());
}
