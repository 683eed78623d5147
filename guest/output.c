#include "output.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void output_clear(Output *out)
{
	out->begin = 0;
	out->end = 0;
}

bool output_is_empty(const Output *out)
{
	return out->begin == out->end;
}

static size_t room(const Output *out)
{
	return OUTPUT_SIZE - (out->end - out->begin);
}

bool output_can_answer(const Output *out)
{
	return room(out) >= OUTPUT_RESERVE;
}

size_t output_data_room(const Output *out)
{
	size_t have = room(out);

	if (have < OUTPUT_RESERVE + WIRE_HEADER_SIZE + OUTPUT_CHUNK_MIN)
		return 0;
	have -= OUTPUT_RESERVE + WIRE_HEADER_SIZE;
	return have < OUTPUT_CHUNK_MAX ? have : OUTPUT_CHUNK_MAX;
}

uint8_t *output_reserve(Output *out, size_t payload_max)
{
	if (OUTPUT_SIZE - out->end < WIRE_HEADER_SIZE + payload_max) {
		memmove(out->bytes, out->bytes + out->begin, out->end - out->begin);
		out->end -= out->begin;
		out->begin = 0;
	}
	return out->bytes + out->end + WIRE_HEADER_SIZE;
}

void output_commit(Output *out, WireFrame frame)
{
	wire_pack_header(out->bytes + out->end, &frame);
	out->end += WIRE_HEADER_SIZE + (size_t)frame.length;
}

void output_frame(Output *out, WireFrame frame)
{
	uint8_t *payload = output_reserve(out, frame.length);

	if (frame.length > 0)
		memcpy(payload, frame.payload, frame.length);
	output_commit(out, frame);
}

void output_bytes(Output *out, const uint8_t *bytes, size_t size)
{
	memcpy(output_reserve(out, size) - WIRE_HEADER_SIZE, bytes, size);
	out->end += size;
}

int output_flush(Output *out, int fd)
{
	while (!output_is_empty(out)) {
		ssize_t done = write(fd, out->bytes + out->begin, out->end - out->begin);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return errno == EAGAIN ? 0 : -1;
		out->begin += (size_t)done;
	}
	output_clear(out);
	return 0;
}
