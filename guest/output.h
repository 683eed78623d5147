/*
 * The bytes on their way to the host: one bounded queue for all streams.
 *
 * Data is read straight into it and only while there is room beyond OUTPUT_RESERVE; the reserve is
 * for answers (CLOSE, WINDOW, PONG...), so that handling one frame never fails for lack of room.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/wire.h"

#define OUTPUT_SIZE    ((size_t)256 * 1024)
#define OUTPUT_RESERVE ((size_t)4096)
/* Data frames are at least this big unless the stream has no more to say: no silly windows. */
#define OUTPUT_CHUNK_MIN ((size_t)4096)
/* ... and at most this, so that streams take turns: what one write to the port can take. */
#define OUTPUT_CHUNK_MAX ((size_t)32768 - WIRE_HEADER_SIZE)

typedef struct Output {
	size_t begin, end;
	uint8_t bytes[OUTPUT_SIZE];
} Output;

void output_clear(Output *out);
bool output_is_empty(const Output *out);

/* Is there room for the answers to one more frame? */
bool output_can_answer(const Output *out);

/* How many bytes of payload one DATA frame could carry now, at most OUTPUT_CHUNK_MAX; 0 if few. */
size_t output_data_room(const Output *out);

/*
 * Begin a frame in place: where `payload_max` bytes of payload may be written. The caller has seen
 * that there is room. Nothing is sent until output_commit().
 */
uint8_t *output_reserve(Output *out, size_t payload_max);
void output_commit(Output *out, WireFrame frame);

/* Queue a frame, or bytes that are already a frame. The caller has seen that there is room. */
void output_frame(Output *out, WireFrame frame);
void output_bytes(Output *out, const uint8_t *bytes, size_t size);

/*
 * Write as much as the fd takes without waiting. 0, or -1 with errno when the host or the channel
 * is gone.
 */
int output_flush(Output *out, int fd);
