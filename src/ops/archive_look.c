#include "ops/archive_look.h"

#include <string.h>

#include "model/oci.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"

#define TAR_BLOCK   512
#define NAME_LEN    100
#define SIZE_AT	    124
#define SIZE_LEN    12
#define TYPE_AT	    156
#define HEX_DIGITS  64
#define MEMBERS_MAX 100000

typedef struct Look {
	int fd;
	const char *only; /* the one document that is asked for; NULL: all */
	ArchiveFacts facts;
	bool has_layout;
	bool has_index;
	bool has_manifest;
} Look;

void archive_facts_release(ArchiveFacts *facts)
{
	strv_release(&facts->tags);
	*facts = (ArchiveFacts){ 0 };
}

static int skip(int fd, uint64_t len, Error **err)
{
	char data[16384];

	if (len > INT64_MAX)
		return error_set(err, ERR_USAGE, "the tar is damaged");
	if (lseek(fd, (off_t)len, SEEK_CUR) >= 0)
		return 0;
	while (len) {
		size_t want = len < sizeof(data) ? (size_t)len : sizeof(data), got;

		if (fs_read_full(fd, data, want, &got, err) < 0)
			return -1;
		if (!got)
			return 0;
		len -= got;
	}
	return 0;
}

static uint64_t size_of(const unsigned char *header)
{
	const unsigned char *field = header + SIZE_AT;
	uint64_t value = 0;

	if (field[0] & 0x80) {
		for (size_t i = 4; i < SIZE_LEN; i++)
			value = value << 8 | field[i];
		return value;
	}
	for (size_t i = 0; i < SIZE_LEN && field[i]; i++)
		if (field[i] >= '0' && field[i] <= '7')
			value = value * 8 + (uint64_t)(field[i] - '0');
	return value;
}

static bool is_hex(const char *text, size_t len)
{
	return len == HEX_DIGITS && strspn(text, "0123456789abcdef") >= HEX_DIGITS;
}

/* Can a member of that name be in an archive of images? */
static bool belongs(const char *name)
{
	static const char *const known[] = {
		"", "oci-layout", "index.json", "manifest.json", "repositories", "blobs"
	};
	size_t first = strcspn(name, "/.");

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(name, known[i]))
			return true;
	return str_starts_with(name, "blobs/") || is_hex(name, first);
}

static void add_tag(Look *look, const json_t *tag)
{
	if (!json_is_string(tag))
		return;
	strv_push_take(&look->facts.tags, str_make_printable(xstrdup(json_string_value(tag))));
}

/* An array with an object for each image. */
static void take_manifest(Look *look, const json_t *doc)
{
	look->has_manifest = json_is_array(doc);
	if (look->has_layout && look->has_index)
		return;
	look->facts.images = json_array_size(doc);
	strv_release(&look->facts.tags);
	for (size_t i = 0; i < json_array_size(doc); i++) {
		const json_t *tags = json_object_get(json_array_get(doc, i), "RepoTags");

		for (size_t j = 0; j < json_array_size(tags); j++)
			add_tag(look, json_array_get(tags, j));
	}
}

static void take_index(Look *look, const json_t *doc)
{
	const json_t *manifests = json_object_get(doc, "manifests");

	look->has_index = json_is_array(manifests);
	if (!look->has_index)
		return;
	look->facts.images = json_array_size(manifests);
	strv_release(&look->facts.tags);
	for (size_t i = 0; i < json_array_size(manifests); i++) {
		const json_t *notes = json_object_get(json_array_get(manifests, i), "annotations");

		add_tag(look, json_object_get(notes, OCI_REF_NAME));
	}
}

static int read_document(Look *look, const char *name, uint64_t size, Error **err)
{
	auto_free char *text = NULL;
	json_auto_t *doc = NULL;
	size_t got;

	if (size > JSON_TEXT_MAX)
		return skip(look->fd, size, err);
	text = xmalloc((size_t)size + 1);
	if (fs_read_full(look->fd, text, (size_t)size, &got, err) < 0)
		return -1;
	if (json_parse_text(text, got, &doc, NULL) < 0)
		return 0;
	if (!strcmp(name, "index.json"))
		take_index(look, doc);
	else if (!look->has_index)
		take_manifest(look, doc);
	return 0;
}

/* 1: go on, 0: it is decided. */
static int look_at_member(Look *look, const unsigned char *header, Error **err)
{
	auto_free char *owned = xstrndup((const char *)header, NAME_LEN);
	size_t len = strlen(owned);
	const char *name = str_starts_with(owned, "./") ? owned + 2 : owned;
	char type = (char)header[TYPE_AT];
	uint64_t size = size_of(header);
	uint64_t padding = (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
	bool is_file = type == '0' || type == '\0';
	bool is_document;

	if (type == 'x' || type == 'g')
		return skip(look->fd, size + padding, err) < 0 ? -1 : 1;
	if (len && owned[len - 1] == '/')
		owned[len - 1] = '\0';
	if (!belongs(name)) {
		look->has_layout = look->has_manifest = false;
		return 0;
	}
	if (is_file && !strcmp(name, "oci-layout"))
		look->has_layout = true;
	is_document = is_file && (!strcmp(name, "index.json") || !strcmp(name, "manifest.json"));
	if (is_document && (!look->only || !strcmp(name, look->only))) {
		if (read_document(look, name, size, err) < 0 || skip(look->fd, padding, err) < 0)
			return -1;
	} else if (skip(look->fd, size + padding, err) < 0) {
		return -1;
	}
	if (look->only)
		return !look->has_index && !look->has_manifest;
	return !(look->has_layout && look->has_index);
}

/* 1: all of it was read, 0: it was decided before. */
static int look_at_members(Look *look, Error **err)
{
	unsigned char header[TAR_BLOCK];
	int more = 1;

	for (size_t i = 0; more == 1 && i < MEMBERS_MAX; i++) {
		size_t got = 0;

		if (fs_read_full(look->fd, header, sizeof(header), &got, err) < 0)
			return -1;
		if (got < sizeof(header) || !header[0])
			break;
		more = look_at_member(look, header, err);
	}
	return more;
}

int archive_look(int fd, ArchiveFacts *out_facts, Error **err)
{
	Look look = { .fd = fd };
	int more = look_at_members(&look, err);

	if (more < 0) {
		archive_facts_release(&look.facts);
		return -1;
	}
	look.facts.is_certain = more == 0;
	if (look.has_layout && look.has_index)
		look.facts.kind = ARCHIVE_OCI;
	else if (look.has_manifest)
		look.facts.kind = ARCHIVE_DOCKER;
	*out_facts = look.facts;
	return 0;
}

char *archive_first_tag(int fd, ArchiveKind kind)
{
	Look look = { .fd = fd, .only = kind == ARCHIVE_OCI ? "index.json" : "manifest.json" };
	char *tag = NULL;

	if (look_at_members(&look, NULL) >= 0 && look.facts.tags.count > 0)
		tag = xstrdup(look.facts.tags.items[0]);
	archive_facts_release(&look.facts);
	return tag;
}
