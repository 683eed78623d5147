#include "held.h"

#include <stdlib.h>
#include <string.h>

struct HeldFrame {
	HeldFrame *next;
	WireFrame frame;
	uint8_t payload[];
};

static size_t weight(const WireFrame *frame)
{
	return sizeof(HeldFrame) + frame->length;
}

bool held_push(Held *held, const WireFrame *frame)
{
	HeldFrame *copy = malloc(weight(frame));

	if (!copy)
		return false;
	copy->next = NULL;
	copy->frame = *frame;
	copy->frame.payload = copy->payload;
	if (frame->length)
		memcpy(copy->payload, frame->payload, frame->length);
	if (!held->first)
		held->last = &held->first;
	*held->last = copy;
	held->last = &copy->next;
	held->bytes += weight(frame);
	return true;
}

bool held_has(const Held *held, uint32_t stream)
{
	for (const HeldFrame *one = held->first; one; one = one->next)
		if (one->frame.stream == stream)
			return true;
	return false;
}

HeldFrame *held_pop(Held *held, WireFrame *out_frame)
{
	HeldFrame *oldest = held->first;

	if (!oldest)
		return NULL;
	held->first = oldest->next;
	held->bytes -= weight(&oldest->frame);
	*out_frame = oldest->frame;
	return oldest;
}

void held_clear(Held *held)
{
	WireFrame frame;
	HeldFrame *one;

	while ((one = held_pop(held, &frame)) != NULL)
		free(one);
}
