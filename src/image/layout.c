#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/blob_file.h"
#include "image/digest.h"
#include "image/layers.h"
#include "image/source.h"
#include "util/fs.h"
#include "util/mem.h"

/*
 * An OCI image layout (image-layout.md): the files oci-layout and index.json, and blobs by their digest.
 */

#define LAYOUT_HINT "make one: skopeo copy docker://debian:12 oci:DIR:TAG"

/* The search for one image among indexes. */
typedef struct Search {
	const LayoutOptions *options;
	int blobs_fd;
	OciDescriptor found; /* a manifest; empty while there is none */
	Strv others;	     /* platforms that are there and were not asked for */
	unsigned documents;  /* indexes read so far */
} Search;

/* Each of four nested indexes could name the next a thousand times. */
#define MAX_INDEXES 64u

static void search_release(Search *search)
{
	close_fd(&search->blobs_fd);
	oci_descriptor_release(&search->found);
	strv_release(&search->others);
}

static int read_document(int fd, uint64_t size, char **out_text, Error **err)
{
	auto_free char *text = NULL;
	size_t got;

	if (size > OCI_MAX_DOCUMENT)
		return error_set(err, ERR_UNSUPPORTED, "a document is larger than 4 MiB");
	text = xcalloc(size + 1, 1);
	if (fs_read_full(fd, text, size, &got, err) < 0)
		return error_wrap(err, "read a document");
	if (got < size)
		return error_set(err, ERR_FAILED, "a document ended while it was read");
	*out_text = steal(&text);
	return 0;
}

static int read_plain(int dir_fd, const char *name, char **out_text, size_t *out_length,
		      Error **err)
{
	auto_fd fd = -1;
	struct stat st;

	if (regular_open(dir_fd, name, &st, &fd, err) < 0)
		return -1;
	*out_length = (size_t)st.st_size;
	return read_document(fd, (uint64_t)st.st_size, out_text, err);
}

static int open_blob(const Search *search, const OciDescriptor *descriptor, int *out_fd,
		     Error **err)
{
	auto_fd fd = -1;
	struct stat st;

	if (blob_file_open(search->blobs_fd, descriptor->digest, &st, &fd, err) < 0)
		return error_hint(err, "the layout is incomplete: fetch the image again");
	if ((uint64_t)st.st_size != descriptor->size) {
		str_assign(search->options->bad_blob, descriptor->digest);
		return error_set(err, ERR_FAILED,
				 "blob '%s' has %lld bytes, its descriptor says %llu",
				 descriptor->digest, (long long)st.st_size,
				 (unsigned long long)descriptor->size);
	}
	*out_fd = steal_fd(&fd);
	return 0;
}

/* A document by its descriptor, checked against its digest. */
static int read_blob(const Search *search, const OciDescriptor *descriptor, char **out_text,
		     Error **err)
{
	auto_fd fd = -1;
	auto_free char *text = NULL;
	auto_free char *digest = NULL;
	Hasher hasher;

	if (open_blob(search, descriptor, &fd, err) < 0 ||
	    read_document(fd, descriptor->size, &text, err) < 0)
		return -1;
	hasher_init(&hasher, descriptor->digest);
	hasher_add(&hasher, text, descriptor->size);
	digest = hasher_finish(&hasher);
	if (strcmp(digest, descriptor->digest) != 0) {
		str_assign(search->options->bad_blob, descriptor->digest);
		return error_set(err, ERR_FAILED,
				 "digest mismatch: the content of blob '%s' is '%s'",
				 descriptor->digest, digest);
	}
	*out_text = steal(&text);
	return 0;
}

/* A field that a document leaves out fits every wish. */
static bool field_fits(const char *given, const char *wanted)
{
	return !given || !*given || !wanted || !strcmp(given, wanted);
}

static bool platform_fits(const Platform *wanted, const char *os, const char *architecture,
			  const char *variant)
{
	return field_fits(os, wanted->os) && field_fits(architecture, wanted->architecture) &&
	       field_fits(variant, wanted->variant);
}

static int search_index(Search *search, const OciDescriptors *list, const char *tag, unsigned depth,
			Error **err);

static int search_descriptor(Search *search, const OciDescriptor *item, unsigned depth, Error **err)
{
	auto_descriptors OciDescriptors nested = { 0 };
	auto_free char *text = NULL;
	Compression unused;

	switch (oci_media(item->media_type, &unused)) {
	case OCI_MANIFEST:
		if (!platform_fits(search->options->platform, item->os, item->architecture,
				   item->variant)) {
			/* Attestations are for "unknown/unknown". */
			if (!str_equal(item->os, "unknown"))
				strv_pushf(&search->others, "%s/%s", item->os ? item->os : "linux",
					   item->architecture ? item->architecture : "?");
			return 0;
		}
		oci_descriptor_copy(&search->found, item);
		return 0;
	case OCI_INDEX:
		if (depth == OCI_MAX_NESTING)
			return error_set(err, ERR_UNSUPPORTED,
					 "indexes are nested more than %u deep", OCI_MAX_NESTING);
		if (++search->documents > MAX_INDEXES)
			return error_set(err, ERR_UNSUPPORTED, "there are more than %u indexes",
					 MAX_INDEXES);
		if (read_blob(search, item, &text, err) < 0 ||
		    oci_parse_index(text, item->size, &nested, err) < 0)
			return error_wrap(err, "index '%s'", item->digest);
		return search_index(search, &nested, NULL, depth + 1, err);
	case OCI_CONFIG:
	case OCI_LAYER:
	case OCI_OTHER:
		break;
	}
	/* Indexes may hold what is no image at all: signatures, attestations. */
	return 0;
}

/* The first manifest that fits, those that name their platform before those that do not. */
static int search_index(Search *search, const OciDescriptors *list, const char *tag, unsigned depth,
			Error **err)
{
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < list->count && !search->found.digest; i++) {
			const OciDescriptor *item = &list->items[i];

			if (tag && (!item->ref_name || strcmp(item->ref_name, tag) != 0))
				continue;
			if ((item->architecture == NULL) == (pass == 1) &&
			    search_descriptor(search, item, depth, err) < 0)
				return -1;
		}
	}
	return 0;
}

/* Which tag is meant: the one asked for, or the only one. NULL in *out_tag: all entries are one image. */
static int choose_tag(const LayoutOptions *options, const OciDescriptors *index,
		      const char **out_tag, Error **err)
{
	auto_strv Strv tags = { 0 };
	auto_free char *known = NULL;

	for (size_t i = 0; i < index->count; i++) {
		const char *name = index->items[i].ref_name;

		if (name && !strv_has(&tags, name))
			strv_push(&tags, name);
	}
	known = strv_join(&tags, ", ");
	if (options->tag && !strv_has(&tags, options->tag)) {
		error_set(err, ERR_NOT_FOUND, "layout '%s' has no tag '%s'", options->name,
			  options->tag);
		return tags.count ? error_hint(err, "it has: %s", known)
				  : error_hint(err, "its images have no tags: leave the tag out");
	}
	if (!options->tag && tags.count > 1) {
		error_set(err, ERR_USAGE, "layout '%s' has several tags", options->name);
		return error_hint(err, "add one of: %s", known);
	}
	*out_tag = NULL;
	for (size_t i = 0; i < index->count && tags.count && !*out_tag; i++)
		if (index->items[i].ref_name &&
		    (!options->tag || !strcmp(index->items[i].ref_name, options->tag)))
			*out_tag = index->items[i].ref_name;
	return 0;
}

static int refuse_platform(const Platform *wanted, const char *has, Error **err)
{
	error_set(err, ERR_NOT_FOUND, "there is no image for %s/%s%s%s", wanted->os,
		  wanted->architecture, wanted->variant ? "/" : "",
		  wanted->variant ? wanted->variant : "");
	if (!*has)
		return error_hint(err, "the index names no image: fetch it again");
	return error_hint(err, "there is one for: --platform %s", has);
}

static int find_manifest(Search *search, char **out_reference, Error **err)
{
	const LayoutOptions *options = search->options;
	auto_descriptors OciDescriptors index = { 0 };
	auto_free char *text = NULL;
	auto_free char *others = NULL;
	const char *tag = NULL;
	size_t length = 0;

	if (read_plain(options->dir_fd, "oci-layout", &text, &length, err) < 0 ||
	    oci_check_layout_file(text, length, err) < 0) {
		error_wrap(err, "'%s' is not an OCI layout", options->name);
		return error_hint(err, LAYOUT_HINT);
	}
	free(steal(&text));
	if (read_plain(options->dir_fd, "index.json", &text, &length, err) < 0 ||
	    oci_parse_index(text, length, &index, err) < 0)
		return error_wrap(err, "index of layout '%s'", options->name);
	if (choose_tag(options, &index, &tag, err) < 0 ||
	    search_index(search, &index, tag, 0, err) < 0)
		return -1;
	if (!search->found.digest) {
		others = strv_join(&search->others, " or --platform ");
		return refuse_platform(options->platform, others, err);
	}
	*out_reference = xstrdup_null(tag);
	return 0;
}

static int add_layer(const Search *search, Source *source, const OciDescriptor *item, Error **err)
{
	auto_fd fd = -1;
	Compression compression;

	if (oci_media(item->media_type, &compression) != OCI_LAYER)
		return error_set(err, ERR_UNSUPPORTED, "layer '%s' is of unknown type '%.100s'",
				 item->digest, item->media_type);
	if (open_blob(search, item, &fd, err) < 0)
		return -1;
	source->layers = xreallocarray(source->layers, source->count + 1, sizeof(*source->layers));
	source->layers[source->count++] = (SourceLayer){
		.fd = steal_fd(&fd),
		.compression = compression,
		.size = item->size,
		.name = xstrdup(item->digest),
		.digest = xstrdup(item->digest),
	};
	source->total_bytes += item->size;
	return 0;
}

static int open_config(const Search *search, Source *source, const OciManifest *manifest,
		       Error **err)
{
	const Platform *platform = search->options->platform;
	const OciDescriptor *descriptor = &manifest->config;
	auto_free char *text = NULL;
	auto_free char *has = NULL;
	const OciConfig *config = &source->config;
	Compression unused;

	if (oci_media(descriptor->media_type, &unused) != OCI_CONFIG) {
		error_set(err, ERR_UNSUPPORTED, "this is not a container image but '%.100s'",
			  descriptor->media_type);
		return error_hint(err, "only images with a root filesystem can become a VM");
	}
	if (read_blob(search, descriptor, &text, err) < 0 ||
	    source_set_config(source, text, descriptor->size, err) < 0)
		return error_wrap(err, "config '%s'", descriptor->digest);
	if (config->diff_ids.count != source->count)
		return error_set(err, ERR_FAILED, "the config has %zu diff_ids for %zu layers",
				 config->diff_ids.count, source->count);
	if (platform_fits(platform, config->os, config->architecture, config->variant))
		return 0;
	has = xasprintf("%s/%s", config->os ? config->os : "linux",
			config->architecture ? config->architecture : "?");
	return refuse_platform(platform, has, err);
}

static int open_manifest(const Search *search, Source *source, Error **err)
{
	auto_manifest OciManifest manifest = { 0 };
	auto_free char *text = NULL;

	if (read_blob(search, &search->found, &text, err) < 0 ||
	    oci_parse_manifest(text, search->found.size, &manifest, err) < 0)
		return error_wrap(err, "manifest '%s'", search->found.digest);
	if (manifest.layers.count > LAYERS_MAX)
		return error_set(err, ERR_UNSUPPORTED, "the image has more than %u layers",
				 LAYERS_MAX);
	for (size_t i = 0; i < manifest.layers.count; i++)
		if (add_layer(search, source, &manifest.layers.items[i], err) < 0)
			return -1;
	source->digest = xstrdup(search->found.digest);
	return open_config(search, source, &manifest, err);
}

int source_open_layout(const LayoutOptions *options, Source *out, Error **err)
{
	CLEANUP(search_release) Search search = { .options = options, .blobs_fd = -1 };
	auto_source Source source = { 0 };

	search.blobs_fd = options->blobs_fd >= 0 ? fcntl(options->blobs_fd, F_DUPFD_CLOEXEC, 3)
						 : openat(options->dir_fd, "blobs",
							  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (search.blobs_fd < 0) {
		error_set_errno(err, errno, "open the blobs of layout '%s'", options->name);
		return error_hint(err, LAYOUT_HINT);
	}
	if (find_manifest(&search, &source.reference, err) < 0 ||
	    open_manifest(&search, &source, err) < 0)
		return -1;
	*out = source;
	source = (Source){ 0 };
	return 0;
}
