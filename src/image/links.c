#include "image/links.h"

#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

#define MAX_NAME_BYTES (256u << 20)
#define LEAST_ROOM     64u

/* Knuth's multiplicative hash; then the next free slot. */
static Link *slot_of(const Links *links, uint32_t inode)
{
	uint32_t hash = inode * 2654435761u;
	size_t at = hash & (links->room - 1);

	while (links->slots[at].inode && links->slots[at].inode != inode)
		at = (at + 1) & (links->room - 1);
	return &links->slots[at];
}

const char *links_find(const Links *links, uint32_t inode)
{
	const Link *slot = links->room ? slot_of(links, inode) : NULL;

	return slot && slot->inode ? links->names + slot->at : NULL;
}

static void grow(Links *links)
{
	Links larger = { .room = links->room ? links->room * 2 : LEAST_ROOM };

	larger.slots = xcalloc(larger.room, sizeof(*larger.slots));
	for (size_t i = 0; i < links->room; i++)
		if (links->slots[i].inode)
			*slot_of(&larger, links->slots[i].inode) = links->slots[i];
	free(links->slots);
	links->slots = larger.slots;
	links->room = larger.room;
}

int links_add(Links *links, uint32_t inode, const char *name, Error **err)
{
	size_t size = strlen(name) + 1;

	if (links->used + size > MAX_NAME_BYTES)
		return error_set(err, ERR_UNSUPPORTED,
				 "files with several names and directories have more than 256 MiB "
				 "of names");
	if (links->used + size > links->names_room) {
		links->names_room = (links->used + size) * 2;
		links->names = xreallocarray(links->names, links->names_room, 1);
	}
	if (links->count * 2 >= links->room)
		grow(links);
	memcpy(links->names + links->used, name, size);
	*slot_of(links, inode) = (Link){ inode, links->used };
	links->used += size;
	links->count++;
	return 0;
}

void links_release(Links *links)
{
	free(links->slots);
	free(links->names);
	*links = (Links){ 0 };
}
