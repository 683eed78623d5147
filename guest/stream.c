#include "stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Credit goes back when this much has been consumed: often enough that the host never runs dry. */
#define GRANT_MIN (WIRE_WINDOW / 4)

size_t stream_send_room(const Stream *stream)
{
	size_t room = output_data_room(stream->out);

	return room < stream->send_credit ? room : stream->send_credit;
}

ssize_t stream_send_from(Stream *stream, uint8_t channel, int fd, size_t max)
{
	size_t room = stream_send_room(stream);
	uint8_t *payload;
	ssize_t got;

	if (room > max)
		room = max;
	payload = output_reserve(stream->out, room);
	do
		got = read(fd, payload, room);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		output_commit(stream->out, (WireFrame){ .type = WIRE_DATA,
							.channel = channel,
							.stream = stream->id,
							.length = (uint32_t)got });
		stream->send_credit -= (uint32_t)got;
	}
	return got;
}

static void grant(Stream *stream, uint32_t size)
{
	uint8_t payload[4];

	wire_set_u32(payload, size);
	stream->receive_credit += size;
	output_frame(stream->out, (WireFrame){ .type = WIRE_WINDOW_ADD,
					       .stream = stream->id,
					       .length = sizeof(payload),
					       .payload = payload });
}

void stream_consumed(Stream *stream, size_t size)
{
	stream->consumed += (uint32_t)size;
	if (stream->host_eof || stream->consumed < GRANT_MIN || !output_can_answer(stream->out))
		return;
	grant(stream, stream->consumed);
	stream->consumed = 0;
}

void stream_extend_window(Stream *stream, uint32_t size)
{
	grant(stream, size);
}

void stream_answer(Stream *stream, WireWriter *writer)
{
	output_bytes(stream->out, writer->buffer, wire_writer_finish(writer));
	if (writer->buffer[4] == WIRE_CLOSE)
		stream->is_over = true;
}

void stream_close(Stream *stream)
{
	uint8_t buffer[WIRE_HEADER_SIZE];
	WireWriter writer;

	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_CLOSE, stream->id);
	stream_answer(stream, &writer);
}

void stream_fail(Stream *stream, WireError kind, const char *fmt, ...)
{
	uint8_t buffer[STREAM_ANSWER_MAX];
	char message[512];
	WireWriter writer;
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_CLOSE, stream->id);
	wire_put_u8(&writer, WIRE_TAG_ERROR, (uint8_t)kind);
	wire_put_text(&writer, WIRE_TAG_MESSAGE, message);
	stream_answer(stream, &writer);
}

WireError error_kind(int errnum)
{
	switch (errnum) {
	case ENOENT:
	case ENOTDIR:
		return WIRE_ERR_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EROFS:
		return WIRE_ERR_DENIED;
	case EISDIR:
		return WIRE_ERR_IS_DIRECTORY;
	case ENOSPC:
	case EDQUOT:
		return WIRE_ERR_NO_SPACE;
	case EAGAIN:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return WIRE_ERR_BUSY;
	case ENOSYS:
	case EOPNOTSUPP:
	case ENOTTY:
		return WIRE_ERR_UNSUPPORTED;
	default:
		return WIRE_ERR_FAILED;
	}
}

short fd_events(const struct pollfd *fds, unsigned count, int fd)
{
	for (unsigned i = 0; i < count; i++)
		if (fds[i].fd == fd)
			return fds[i].revents;
	return 0;
}
