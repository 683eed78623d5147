#include "image/acl.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"
#include "util/str.h"

#define VERSION	    2u
#define HEADER_SIZE 4u
#define ENTRY_SIZE  8u

/* In the order in which a kernel wants them. */
enum {
	TAG_USER_OBJ = 1,
	TAG_USER = 2,
	TAG_GROUP_OBJ = 4,
	TAG_GROUP = 8,
	TAG_MASK = 16,
	TAG_OTHER = 32,
};

typedef struct Entry {
	uint16_t tag;
	uint16_t permissions;
	uint32_t id;
} Entry;

typedef struct Entries {
	Entry *items;
	size_t count;
} Entries;

/* A piece of the text. */
typedef struct Piece {
	const char *at;
	size_t length;
} Piece;

bool acl_is_valid(const void *attribute, size_t size)
{
	const unsigned char *bytes = attribute;
	uint32_t version;

	if (size < HEADER_SIZE || (size - HEADER_SIZE) % ENTRY_SIZE != 0)
		return false;
	memcpy(&version, bytes, sizeof(version));
	if (le32toh(version) != VERSION)
		return false;
	for (size_t at = HEADER_SIZE; at < size; at += ENTRY_SIZE) {
		uint16_t tag;

		memcpy(&tag, bytes + at, sizeof(tag));
		switch (le16toh(tag)) {
		case TAG_USER_OBJ:
		case TAG_USER:
		case TAG_GROUP_OBJ:
		case TAG_GROUP:
		case TAG_MASK:
		case TAG_OTHER:
			break;
		default:
			return false;
		}
	}
	return true;
}

void acl_release(Acl *acl)
{
	free(acl->attribute);
	free(acl->unknown);
	*acl = (Acl){ 0 };
}

static bool piece_is(const Piece *piece, const char *text)
{
	return piece->length == strlen(text) && !memcmp(piece->at, text, piece->length);
}

/* Cut the text before `separator` off `rest`, which moves behind it. */
static Piece cut(Piece *rest, char separator)
{
	const char *end = rest->length ? memchr(rest->at, separator, rest->length) : NULL;
	Piece piece = { rest->at, end ? (size_t)(end - rest->at) : rest->length };
	size_t used = piece.length + (end ? 1 : 0);

	rest->at += used;
	rest->length -= used;
	return piece;
}

static bool parse_tag(const Piece *word, bool is_named, uint16_t *out_tag)
{
	if (piece_is(word, "user") || piece_is(word, "u"))
		*out_tag = is_named ? TAG_USER : TAG_USER_OBJ;
	else if (piece_is(word, "group") || piece_is(word, "g"))
		*out_tag = is_named ? TAG_GROUP : TAG_GROUP_OBJ;
	else if (!is_named && (piece_is(word, "mask") || piece_is(word, "m")))
		*out_tag = TAG_MASK;
	else if (!is_named && (piece_is(word, "other") || piece_is(word, "o")))
		*out_tag = TAG_OTHER;
	else
		return false;
	return true;
}

static bool parse_permissions(const Piece *text, uint16_t *out_permissions)
{
	*out_permissions = 0;
	for (size_t i = 0; i < text->length; i++) {
		switch (text->at[i]) {
		case 'r':
			*out_permissions |= 4;
			break;
		case 'w':
			*out_permissions |= 2;
			break;
		case 'x':
			*out_permissions |= 1;
			break;
		case '-':
			break;
		default:
			return false;
		}
	}
	return text->length > 0;
}

static Piece trimmed(Piece piece)
{
	piece = cut(&piece, '#');
	while (piece.length && strchr(" \t\r", piece.at[0])) {
		piece.at++;
		piece.length--;
	}
	while (piece.length && strchr(" \t\r", piece.at[piece.length - 1]))
		piece.length--;
	return piece;
}

/* One entry that is not empty. */
static bool parse_entry(Piece text, const AclNames *users, const AclNames *groups, Entry *out,
			char **unknown)
{
	Piece word = cut(&text, ':');
	Piece name, permissions, id;

	if (piece_is(&word, "default") || piece_is(&word, "d"))
		word = cut(&text, ':');
	name = cut(&text, ':');
	permissions = cut(&text, ':');
	id = cut(&text, ':');
	/* "other:r--" and "mask:r--" are usual too. */
	if (!permissions.length && name.length && parse_tag(&word, false, &out->tag) &&
	    (out->tag == TAG_OTHER || out->tag == TAG_MASK)) {
		permissions = name;
		name.length = 0;
	}
	out->id = ACL_NO_ID;
	if (text.length || !parse_tag(&word, name.length > 0, &out->tag) ||
	    !parse_permissions(&permissions, &out->permissions))
		return false;
	if (!name.length)
		return !id.length;
	if (acl_parse_id(id.at, id.length, &out->id) ||
	    (!id.length && acl_parse_id(name.at, name.length, &out->id)))
		return true;
	if (id.length)
		return false;
	if (!acl_names_find(out->tag == TAG_USER ? users : groups, name.at, name.length,
			    &out->id) &&
	    !*unknown)
		*unknown = xasprintf("%s '%.*s'", out->tag == TAG_USER ? "user" : "group",
				     (int)(name.length < 64 ? name.length : 64), name.at);
	return true;
}

static int compare_entries(const void *a, const void *b)
{
	const Entry *one = a;
	const Entry *two = b;

	if (one->tag != two->tag)
		return one->tag < two->tag ? -1 : 1;
	return (one->id > two->id) - (one->id < two->id);
}

static Entry *find(const Entries *list, uint16_t tag)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].tag == tag)
			return &list->items[i];
	return NULL;
}

static void add_entry(Entries *list, const Entry *entry)
{
	list->items = xreallocarray(list->items, list->count + 1, sizeof(Entry));
	list->items[list->count++] = *entry;
}

/* Who is named needs a mask; without one it is all that any of them may do. */
static void add_mask(Entries *list)
{
	Entry mask = { .tag = TAG_MASK, .id = ACL_NO_ID };

	if (find(list, TAG_MASK) || (!find(list, TAG_USER) && !find(list, TAG_GROUP)))
		return;
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].tag & (TAG_USER | TAG_GROUP_OBJ | TAG_GROUP))
			mask.permissions |= list->items[i].permissions;
	add_entry(list, &mask);
}

static bool is_whole(const Entries *list, bool has_unknown)
{
	for (size_t i = 1; i < list->count; i++)
		if (compare_entries(&list->items[i - 1], &list->items[i]) == 0 &&
		    !(has_unknown && list->items[i].id == ACL_NO_ID &&
		      list->items[i].tag & (TAG_USER | TAG_GROUP)))
			return false;
	return find(list, TAG_USER_OBJ) && find(list, TAG_GROUP_OBJ) && find(list, TAG_OTHER);
}

static void encode(const Entries *list, Acl *acl)
{
	uint32_t version = htole32(VERSION);
	unsigned char *at;

	acl->size = HEADER_SIZE + list->count * ENTRY_SIZE;
	acl->attribute = at = xmalloc(acl->size);
	memcpy(at, &version, HEADER_SIZE);
	at += HEADER_SIZE;
	for (size_t i = 0; i < list->count; i++, at += ENTRY_SIZE) {
		uint16_t tag = htole16(list->items[i].tag);
		uint16_t permissions = htole16(list->items[i].permissions);
		uint32_t id = htole32(list->items[i].id);

		memcpy(at, &tag, 2);
		memcpy(at + 2, &permissions, 2);
		memcpy(at + 4, &id, 4);
	}
}

static uint32_t mode_of(const Entries *list, uint32_t group)
{
	return (uint32_t)find(list, TAG_USER_OBJ)->permissions << 6 | group << 3 |
	       find(list, TAG_OTHER)->permissions;
}

static int refuse(Error **err)
{
	return error_set(err, ERR_FAILED, "the text of a POSIX ACL makes no sense");
}

static void entries_release(Entries *list)
{
	free(list->items);
}

int acl_read(const char *text, size_t length, const AclNames *users, const AclNames *groups,
	     Acl *out, Error **err)
{
	CLEANUP(entries_release) Entries list = { 0 };
	auto_acl Acl acl = { 0 };
	Piece rest = { text, length };
	const Entry *mask;
	uint32_t group;

	if (memchr(text, '\0', length))
		return refuse(err);
	while (rest.length) {
		Piece line = cut(&rest, '\n');

		while (line.length) {
			Piece piece = trimmed(cut(&line, ','));
			Entry entry = { 0 };

			if (piece.length &&
			    !parse_entry(piece, users, groups, &entry, &acl.unknown))
				return refuse(err);
			if (piece.length)
				add_entry(&list, &entry);
		}
	}
	add_mask(&list);
	if (list.count)
		qsort(list.items, list.count, sizeof(Entry), compare_entries);
	if (!is_whole(&list, acl.unknown != NULL))
		return refuse(err);
	mask = find(&list, TAG_MASK);
	group = find(&list, TAG_GROUP_OBJ)->permissions;
	acl.permissions = mode_of(&list, mask ? mask->permissions : group);
	acl.without = mode_of(&list, mask ? mask->permissions & group : group);
	acl.is_minimal = list.count == 3;
	if (!acl.unknown)
		encode(&list, &acl);
	*out = acl;
	acl = (Acl){ 0 };
	return 0;
}
