#include <string.h>

#include "model/image.h"
#include "model/uuid.h"
#include "model/vm.h"
#include "util/mem.h"

#define REFERENCE_MAX 512 /* with host and tag: what is accepted in short is accepted in full */
#define DOCKER_HOST   "docker.io"

void image_ref_release(ImageRef *ref)
{
	free(ref->host);
	free(ref->repository);
	free(ref->tag);
	free(ref->digest);
	*ref = (ImageRef){ 0 };
}

static int refuse(const char *text, const char *why, Error **err)
{
	auto_free char *shown = str_make_printable(xasprintf("%.100s", text));

	error_set(err, ERR_USAGE, "'%s' is not an image reference: %s", shown, why);
	return error_hint(err,
			  "write it like debian:12, ghcr.io/owner/name:tag or name@sha256:...");
}

static bool all_of(const char *text, size_t len, const char *allowed)
{
	return len > 0 && strspn(text, allowed) >= len;
}

/* An address where a name belongs. */
static int refuse_scheme(const char *text, Error **err)
{
	auto_free char *shown = str_make_printable(xasprintf("%.100s", text));
	int scheme = (int)(strstr(shown, "://") - shown) + 3;

	error_set(err, ERR_USAGE, "'%s' is an address, not an image reference", shown);
	return error_hint(err, "leave out %.*s: %s", scheme, shown, shown + scheme);
}

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool is_host(const char *part, size_t len)
{
	return memchr(part, '.', len) || memchr(part, ':', len) ||
	       (len == 9 && !strncmp(part, "localhost", 9));
}

static bool is_repository(const char *text)
{
	char before = '/';

	if (!all_of(text, strlen(text), LOWER DIGITS "._-/"))
		return false;
	for (const char *c = text; *c; c++) {
		if (strchr("._-/", *c) && before == '/')
			return false; /* a component is empty or begins with a separator */
		before = *c;
	}
	return !strchr("._-/", before);
}

static bool is_digest(const char *text)
{
	return str_starts_with(text, "sha256:") && strlen(text) == 71 &&
	       all_of(text + 7, 64, DIGITS "abcdef");
}

/* Cuts "@digest" and ":tag" off the writable `rest`. */
static int split_tail(const char *text, char *rest, ImageRef *ref, Error **err)
{
	char *at = strchr(rest, '@'), *colon;

	if (at) {
		*at = '\0';
		if (!is_digest(at + 1))
			return refuse(text, "the digest is not sha256 and 64 hex digits", err);
		ref->digest = xstrdup(at + 1);
	}
	colon = strrchr(rest, ':');
	if (colon && !strchr(colon, '/')) {
		*colon = '\0';
		if (strlen(colon + 1) > 128 ||
		    !all_of(colon + 1, strlen(colon + 1), LOWER UPPER DIGITS "._-") ||
		    strchr(".-", colon[1]))
			return refuse(text,
				      "the tag has other characters than letters, digits, . _ -",
				      err);
		if (!at) /* a digest says more than a tag */
			ref->tag = xstrdup(colon + 1);
	}
	if (!ref->tag && !ref->digest)
		ref->tag = xstrdup("latest");
	return 0;
}

int image_ref_parse(const char *text, ImageRef *out_ref, Error **err)
{
	CLEANUP(image_ref_release) ImageRef ref = { 0 };
	auto_free char *rest = NULL, *full = NULL;
	const char *body, *slash;

	if (str_starts_with(text, "docker://"))
		text += strlen("docker://");
	if (str_starts_with(text, "http://") || str_starts_with(text, "https://"))
		return refuse_scheme(text, err);
	slash = strchr(text, '/');
	body = text;
	if (slash && is_host(text, (size_t)(slash - text))) {
		if (!strchr(LOWER UPPER DIGITS "[", *text) ||
		    !all_of(text, (size_t)(slash - text), LOWER UPPER DIGITS ".:-[]"))
			return refuse(text, "the registry's name has odd characters", err);
		if (slash[-1] == ':')
			return refuse(text, "the registry's port is missing", err);
		ref.host = xstrndup(text, (size_t)(slash - text));
		body = slash + 1;
	} else {
		ref.host = xstrdup(DOCKER_HOST);
	}
	rest = xstrdup(body);
	if (split_tail(text, rest, &ref, err) < 0)
		return -1;
	if (!is_repository(rest))
		return refuse(text, "the name must be lower case words, separated by / . _ -", err);
	if (!strcmp(ref.host, DOCKER_HOST) && !strchr(rest, '/'))
		ref.repository = xasprintf("library/%s", rest);
	else
		ref.repository = xstrdup(rest);
	full = image_ref_text(&ref);
	if (strlen(full) > REFERENCE_MAX)
		return refuse(text, "it is too long", err);
	*out_ref = ref;
	ref = (ImageRef){ 0 };
	return 0;
}

char *image_ref_text(const ImageRef *ref)
{
	return xasprintf("%s/%s%s%s", ref->host, ref->repository, ref->digest ? "@" : ":",
			 ref->digest ? ref->digest : ref->tag);
}

char *image_name_from_text(const char *text)
{
	auto_free char *name = xstrdup(text);
	size_t len;

	for (char *c = name; *c; c++) {
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
		else if (!strchr(LOWER DIGITS "._-", *c))
			*c = '-';
	}
	len = strspn(name, "._-");
	memmove(name, name + len, strlen(name + len) + 1);
	if (!*name)
		return xstrdup("image");
	if (strlen(name) <= VM_NAME_MAX)
		return steal(&name);
	return xasprintf("%.*s-%08x", VM_NAME_MAX - 9, name, (unsigned)hash_text(text));
}

char *image_ref_local_name(const ImageRef *ref)
{
	bool is_docker = !strcmp(ref->host, DOCKER_HOST);
	auto_free char *text = NULL;

	if (ref->digest)
		text = xasprintf("%s%s%s-%.12s", is_docker ? "" : ref->host, is_docker ? "" : "-",
				 ref->repository, ref->digest + strlen("sha256:"));
	else
		text = xasprintf("%s%s%s-%s", is_docker ? "" : ref->host, is_docker ? "" : "-",
				 ref->repository, ref->tag);
	return image_name_from_text(text);
}
