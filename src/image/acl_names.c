#include "image/acl_names.h"

#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

bool acl_parse_id(const char *text, size_t length, uint32_t *out_id)
{
	uint64_t id = 0;

	if (!length)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		id = 10 * id + (uint64_t)(text[i] - '0');
		if (id >= ACL_NO_ID)
			return false;
	}
	*out_id = (uint32_t)id;
	return true;
}

static int compare_names(const void *a, const void *b)
{
	const AclName *one = a;
	const AclName *two = b;
	size_t common = one->length < two->length ? one->length : two->length;
	int order = memcmp(one->name, two->name, common);

	return order ? order : (one->length > two->length) - (one->length < two->length);
}

/* Of equal names the first in the text comes first. */
static int compare_lines(const void *a, const void *b)
{
	const AclName *one = a;
	const AclName *two = b;
	int order = compare_names(a, b);

	return order ? order : (one->name > two->name) - (one->name < two->name);
}

/* The length of the field at `text`, which ends at a colon or at `end`. */
static size_t field_length(const char *text, const char *end)
{
	const char *colon = text < end ? memchr(text, ':', (size_t)(end - text)) : NULL;

	return (size_t)((colon ? colon : end) - text);
}

/* NAME:PASSWORD:NUMBER, and what follows. */
static bool parse_line(const char *line, const char *end, AclName *out)
{
	const char *field = line;

	out->name = line;
	out->length = field_length(line, end);
	for (int i = 0; i < 2; i++) {
		field += field_length(field, end);
		if (field == end)
			return false;
		field++;
	}
	return out->length && acl_parse_id(field, field_length(field, end), &out->id);
}

void acl_names_read(AclNames *names, const char *text, size_t length)
{
	size_t capacity = 0;

	for (const char *line = text, *end; line < text + length; line = end + 1) {
		AclName name;

		end = memchr(line, '\n', (size_t)(text + length - line));
		if (!end)
			end = text + length;
		if (!parse_line(line, end, &name))
			continue;
		if (names->count == capacity) {
			capacity = capacity ? 2 * capacity : 64;
			names->items = xreallocarray(names->items, capacity, sizeof(AclName));
		}
		names->items[names->count++] = name;
	}
	if (names->count)
		qsort(names->items, names->count, sizeof(AclName), compare_lines);
}

void acl_names_release(AclNames *names)
{
	free(names->items);
	*names = (AclNames){ 0 };
}

bool acl_names_find(const AclNames *names, const char *name, size_t length, uint32_t *out_id)
{
	AclName wanted = { name, length, 0 };
	size_t low = 0;
	size_t high = names->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_names(&names->items[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == names->count || compare_names(&names->items[low], &wanted) != 0)
		return false;
	*out_id = names->items[low].id;
	return true;
}
