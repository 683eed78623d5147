#include "ops/image_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "model/image.h"
#include "model/oci.h"
#include "model/vm.h"
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

/* A name, as ember itself writes, rather than a tag such as "latest", "12" or "v1.2"? */
static bool is_plain_name(const char *text)
{
	const char *rest = text + (*text == 'v');

	return name_check("image", text, NULL) == 0 && !strchr("0123456789", *rest) &&
	       strcmp(text, "latest") != 0;
}

/* The annotation that names an entry of an OCI archive is often only a tag, which names no image. */
static bool is_name(const char *text)
{
	return strpbrk(text, "/:") || is_plain_name(text);
}

/* What an archive calls its image, as a local name; owned, or NULL when it does not say. `tail`: ":REFERENCE" or "". */
static char *archive_name(ArchiveKind kind, const char *path, const char *tail)
{
	auto_free char *name = *tail ? xstrdup(tail + 1) : first_tag(path, kind);
	CLEANUP(image_ref_release) ImageRef ref = { 0 };

	if (!name || !is_name(name))
		return NULL;
	if (is_plain_name(name))
		return steal(&name);
	return image_ref_parse(name, &ref, NULL) == 0 ? image_ref_local_name(&ref) : NULL;
}

/* A local name after the file or directory, and the tag. */
static char *file_name(const char *path, const char *tail, bool is_archive)
{
	static const char *const endings[] = { ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst" };
	const char *base = path_basename(path);
	auto_free char *label = NULL;
	size_t cut = 0;

	for (size_t i = 0; is_archive && i < ARRAY_SIZE(endings); i++)
		if (str_ends_with(base, endings[i]))
			cut = strlen(endings[i]);
	label = xasprintf("%.*s%s", (int)(strlen(base) - cut), base, tail);
	return image_name_from_text(label);
}

/* One way to write a path, so that it is known again: absolute, without "//", "/./" and a "/" at the end. Only the kernel
 * knows where ".." leads, past links. */
static int tidy_path(const char *path, char **out_path, Error **err)
{
	auto_free char *absolute = NULL;
	char *to;

	if (path_absolute(path, &absolute, err) < 0)
		return -1;
	if (strstr(absolute, "/../") || str_ends_with(absolute, "/..")) {
		*out_path = realpath(absolute, NULL);
		return *out_path ? 0 : error_set_errno(err, errno, "find '%s'", path);
	}
	to = absolute;
	for (const char *from = absolute; *from;) {
		size_t len = strcspn(from + 1, "/") + 1; /* with the slash before it */

		if (len > 1 && !(len == 2 && from[1] == '.')) {
			memmove(to, from, len);
			to += len;
		}
		from += len;
	}
	if (to == absolute)
		*to++ = '/';
	*to = '\0';
	*out_path = steal(&absolute);
	return 0;
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
	bool is_layout = !strcmp(prefix, "oci:");

	if (!path) {
		error_set(err, *rest && *rest != ':' ? ERR_NOT_FOUND : ERR_USAGE,
			  "'%s' names no existing path", reference);
		return error_hint(err, "write it like %sPATH or %sPATH:TAG", prefix, prefix);
	}
	tail = rest + strlen(path);
	if (tidy_path(path, &absolute, err) < 0)
		return -1;
	if (!is_layout)
		source->name =
			archive_name(strcmp(prefix, "oci-archive:") ? ARCHIVE_DOCKER : ARCHIVE_OCI,
				     absolute, tail);
	if (!source->name)
		source->name = file_name(absolute, tail, !is_layout);
	source->reference = xasprintf("%s%s%s", prefix, absolute, tail);
	if (is_layout) {
		source->layout = xasprintf("%s%s", absolute, tail);
		source->layout_dir = xstrdup(absolute);
		source->layout_tag = *tail ? xstrdup(tail + 1) : NULL;
	} else {
		source->transport = xstrdup(source->reference);
	}
	return 0;
}

bool source_is_file(const char *reference)
{
	static const char *const beginnings[] = { "/",
						  "./",
						  "../",
						  "~",
						  "oci:",
						  "oci-archive:",
						  "docker-archive:",
						  "docker-daemon:",
						  "containers-storage:",
						  "dir:",
						  "ostree:",
						  "sif:",
						  "tarball:" };

	for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++)
		if (str_starts_with(reference, beginnings[i]))
			return true;
	return false;
}

/* What is no registry's, and not of the kinds that are read either. */
static int refuse_file(const char *reference, Error **err)
{
	auto_free char *shown = str_make_printable(xasprintf("%.200s", reference));

	if (strchr("/.~", *shown)) {
		error_set(err, ERR_USAGE, "'%s' is a path, not an image reference", shown);
		return error_hint(
			err, "ember image import NAME %s, or for a layout: ember image pull oci:%s",
			shown, shown);
	}
	error_set(err, ERR_USAGE, "'%s' is of a kind that cannot be pulled", shown);
	return error_hint(err, "what can: HOST/NAME:TAG, oci:DIR, oci-archive:FILE and "
			       "docker-archive:FILE");
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
		if (source_is_file(reference))
			return refuse_file(reference, err);
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
