#include "wire.h"

#include <string.h>

_Static_assert(sizeof(WIRE_MAGIC) == WIRE_MAGIC_SIZE + 1, "the magic is 16 bytes");

/* What every HELLO frame begins with: length, type, channel, zeros, stream 0, magic. */
static const uint8_t hello_prefix[WIRE_HELLO_PREFIX_SIZE + 1] =
	"\x20\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00" WIRE_MAGIC;

const char *wire_error_name(unsigned error)
{
	static const char *const names[] = {
		[WIRE_ERR_FAILED] = "failed",
		[WIRE_ERR_BAD_REQUEST] = "bad_request",
		[WIRE_ERR_UNSUPPORTED] = "unsupported",
		[WIRE_ERR_NOT_FOUND] = "not_found",
		[WIRE_ERR_NOT_EXECUTABLE] = "not_executable",
		[WIRE_ERR_DENIED] = "denied",
		[WIRE_ERR_BAD_USER] = "bad_user",
		[WIRE_ERR_BAD_CWD] = "bad_cwd",
		[WIRE_ERR_IS_DIRECTORY] = "is_directory",
		[WIRE_ERR_NOT_REGULAR] = "not_regular",
		[WIRE_ERR_NO_SPACE] = "no_space",
		[WIRE_ERR_BUSY] = "busy",
		[WIRE_ERR_STATE] = "state",
		[WIRE_ERR_TIMEOUT] = "timeout",
	};

	if (error < sizeof(names) / sizeof(names[0]) && names[error])
		return names[error];
	return "failed";
}

uint32_t wire_get_u32(const uint8_t *from)
{
	return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

uint64_t wire_get_u64(const uint8_t *from)
{
	return wire_get_u32(from) | (uint64_t)wire_get_u32(from + 4) << 32;
}

void wire_set_u32(uint8_t *to, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

void wire_set_u64(uint8_t *to, uint64_t value)
{
	wire_set_u32(to, (uint32_t)value);
	wire_set_u32(to + 4, (uint32_t)(value >> 32));
}

void wire_pack_header(uint8_t to[WIRE_HEADER_SIZE], const WireFrame *frame)
{
	wire_set_u32(to, frame->length);
	to[4] = frame->type;
	to[5] = frame->channel;
	to[6] = 0;
	to[7] = 0;
	wire_set_u32(to + 8, frame->stream);
}

size_t wire_pack(uint8_t *to, size_t size, const WireFrame *frame)
{
	if (frame->length > WIRE_PAYLOAD_MAX || size < WIRE_HEADER_SIZE + (size_t)frame->length)
		return 0;
	wire_pack_header(to, frame);
	if (frame->length > 0)
		memcpy(to + WIRE_HEADER_SIZE, frame->payload, frame->length);
	return WIRE_HEADER_SIZE + (size_t)frame->length;
}

size_t wire_pack_hello(uint8_t to[WIRE_HEADER_SIZE + WIRE_HELLO_SIZE], const WireHello *hello)
{
	memcpy(to, hello_prefix, WIRE_HELLO_PREFIX_SIZE);
	wire_set_u32(to + WIRE_HELLO_PREFIX_SIZE, hello->version);
	wire_set_u32(to + WIRE_HELLO_PREFIX_SIZE + 4, hello->step);
	wire_set_u64(to + WIRE_HELLO_PREFIX_SIZE + 8, hello->session);
	return WIRE_HEADER_SIZE + WIRE_HELLO_SIZE;
}

void wire_unpack_hello(const WireFrame *frame, WireHello *out_hello)
{
	*out_hello = (WireHello){
		.version = wire_get_u32(frame->payload + WIRE_MAGIC_SIZE),
		.step = wire_get_u32(frame->payload + WIRE_MAGIC_SIZE + 4),
		.session = wire_get_u64(frame->payload + WIRE_MAGIC_SIZE + 8),
	};
}

/* Does the header obey the limits of its type? */
static bool header_is_valid(const uint8_t *header)
{
	uint32_t length = wire_get_u32(header);
	uint8_t type = header[4], channel = header[5];
	bool has_stream = wire_get_u32(header + 8) != 0;

	if (header[6] != 0 || header[7] != 0)
		return false;
	if (channel > (type == WIRE_DATA ? WIRE_CHANNEL_STDERR : WIRE_CHANNEL_MAIN))
		return false;
	switch (type) {
	case WIRE_HELLO:
		return !has_stream && length == WIRE_HELLO_SIZE;
	case WIRE_OPEN:
	case WIRE_INFO:
	case WIRE_CLOSE:
		return has_stream && length <= WIRE_PAYLOAD_MAX;
	case WIRE_DATA:
		return has_stream && length > 0 && length <= WIRE_PAYLOAD_MAX;
	case WIRE_WINDOW_ADD:
		return has_stream && length == 4;
	case WIRE_EOF:
	case WIRE_RESET:
		return has_stream && length == 0;
	case WIRE_PING:
	case WIRE_PONG:
		return !has_stream && length <= WIRE_PING_MAX;
	default:
		return false;
	}
}

void wire_parser_init(WireParser *parser)
{
	parser->synced = false;
	parser->begin = 0;
	parser->end = 0;
}

size_t wire_parser_space(WireParser *parser, uint8_t **out_at)
{
	if (parser->begin > 0) {
		memmove(parser->bytes, parser->bytes + parser->begin, parser->end - parser->begin);
		parser->end -= parser->begin;
		parser->begin = 0;
	}
	*out_at = parser->bytes + parser->end;
	return WIRE_PARSER_SIZE - parser->end;
}

void wire_parser_fed(WireParser *parser, size_t count)
{
	parser->end += count;
}

/* Drop bytes until what is left begins with a HELLO, or with what may become one. */
static void scan_for_hello(WireParser *parser)
{
	while (parser->begin < parser->end) {
		const uint8_t *at = parser->bytes + parser->begin;
		size_t have = parser->end - parser->begin;
		const uint8_t *first = memchr(at, hello_prefix[0], have);

		if (!first) {
			parser->begin = parser->end;
			return;
		}
		parser->begin += (size_t)(first - at);
		have = parser->end - parser->begin;
		if (have > WIRE_HELLO_PREFIX_SIZE)
			have = WIRE_HELLO_PREFIX_SIZE;
		if (memcmp(first, hello_prefix, have) == 0) {
			parser->synced = have == WIRE_HELLO_PREFIX_SIZE;
			return;
		}
		parser->begin++;
	}
}

WireGot wire_parser_next(WireParser *parser, WireFrame *out_frame)
{
	const uint8_t *header;
	size_t have;
	uint32_t length;

	if (!parser->synced)
		scan_for_hello(parser);
	header = parser->bytes + parser->begin;
	have = parser->end - parser->begin;
	if (!parser->synced || have < WIRE_HEADER_SIZE)
		return WIRE_NEED_MORE;

	length = wire_get_u32(header);
	if (!header_is_valid(header)) {
		parser->synced = false;
		parser->begin++;
		return WIRE_MALFORMED;
	}
	if (have < WIRE_HEADER_SIZE + (size_t)length)
		return WIRE_NEED_MORE;
	if (header[4] == WIRE_HELLO && memcmp(header, hello_prefix, WIRE_HELLO_PREFIX_SIZE) != 0) {
		parser->synced = false;
		parser->begin++;
		return WIRE_MALFORMED;
	}

	*out_frame = (WireFrame){
		.type = header[4],
		.channel = header[5],
		.stream = wire_get_u32(header + 8),
		.length = length,
		.payload = header + WIRE_HEADER_SIZE,
	};
	parser->begin += WIRE_HEADER_SIZE + (size_t)length;
	return WIRE_GOT_FRAME;
}

WireReader wire_reader(const WireFrame *frame)
{
	return (WireReader){ .at = frame->payload, .end = frame->payload + frame->length };
}

int wire_tlv_next(WireReader *reader, WireTlv *out_tlv)
{
	size_t left = (size_t)(reader->end - reader->at);
	uint32_t length;

	if (left == 0)
		return 0;
	if (left < WIRE_TLV_HEADER_SIZE)
		return -1;
	length = wire_get_u32(reader->at + 1);
	if (length > left - WIRE_TLV_HEADER_SIZE)
		return -1;
	*out_tlv = (WireTlv){
		.tag = reader->at[0],
		.length = length,
		.value = reader->at + WIRE_TLV_HEADER_SIZE,
	};
	reader->at += WIRE_TLV_HEADER_SIZE + length;
	return 1;
}

int wire_tlv_u8(const WireTlv *tlv, uint8_t *out_value)
{
	if (tlv->length != 1)
		return -1;
	*out_value = tlv->value[0];
	return 0;
}

int wire_tlv_u32(const WireTlv *tlv, uint32_t *out_value)
{
	if (tlv->length != 4)
		return -1;
	*out_value = wire_get_u32(tlv->value);
	return 0;
}

int wire_tlv_u64(const WireTlv *tlv, uint64_t *out_value)
{
	if (tlv->length != 8)
		return -1;
	*out_value = wire_get_u64(tlv->value);
	return 0;
}

int wire_tlv_text(const WireTlv *tlv, const char **out_text)
{
	if (tlv->length == 0 || memchr(tlv->value, 0, tlv->length) != tlv->value + tlv->length - 1)
		return -1;
	*out_text = (const char *)tlv->value;
	return 0;
}

void wire_writer_begin(WireWriter *writer, uint8_t *buffer, size_t size, WireType type,
		       uint32_t stream)
{
	WireFrame frame = { .type = (uint8_t)type, .stream = stream };

	*writer = (WireWriter){
		.buffer = buffer,
		.size = size < WIRE_FRAME_MAX ? size : WIRE_FRAME_MAX,
		.used = WIRE_HEADER_SIZE,
		.overflow = size < WIRE_HEADER_SIZE,
	};
	if (!writer->overflow)
		wire_pack_header(buffer, &frame);
}

void wire_put_bytes(WireWriter *writer, WireTag tag, const void *value, size_t length)
{
	uint8_t *to;

	if (writer->overflow || length > WIRE_PAYLOAD_MAX ||
	    writer->size - writer->used < WIRE_TLV_HEADER_SIZE + length) {
		writer->overflow = true;
		return;
	}
	to = writer->buffer + writer->used;
	to[0] = (uint8_t)tag;
	wire_set_u32(to + 1, (uint32_t)length);
	if (length > 0)
		memcpy(to + WIRE_TLV_HEADER_SIZE, value, length);
	writer->used += WIRE_TLV_HEADER_SIZE + length;
}

void wire_put_u8(WireWriter *writer, WireTag tag, uint8_t value)
{
	wire_put_bytes(writer, tag, &value, sizeof(value));
}

void wire_put_u32(WireWriter *writer, WireTag tag, uint32_t value)
{
	uint8_t bytes[4];

	wire_set_u32(bytes, value);
	wire_put_bytes(writer, tag, bytes, sizeof(bytes));
}

void wire_put_u64(WireWriter *writer, WireTag tag, uint64_t value)
{
	uint8_t bytes[8];

	wire_set_u64(bytes, value);
	wire_put_bytes(writer, tag, bytes, sizeof(bytes));
}

void wire_put_text(WireWriter *writer, WireTag tag, const char *text)
{
	wire_put_bytes(writer, tag, text, strlen(text) + 1);
}

size_t wire_writer_finish(WireWriter *writer)
{
	if (writer->overflow)
		return 0;
	wire_set_u32(writer->buffer, (uint32_t)(writer->used - WIRE_HEADER_SIZE));
	return writer->used;
}
