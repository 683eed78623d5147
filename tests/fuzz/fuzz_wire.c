/*
 * The agent protocol's parser: any bytes, in pieces of any size, from a guest or a client. The first
 * byte chooses the size of the pieces. Every frame that comes out must pack to what it was made of.
 */
#include "agent/wire.h"
#include "fuzz.h"

static WireParser parser;
static uint8_t packed[WIRE_FRAME_MAX];

static void walk_tlvs(const WireFrame *frame)
{
	WireReader reader = wire_reader(frame);
	WireTlv tlv;

	while (wire_tlv_next(&reader, &tlv) == 1) {
		const char *text;
		uint64_t wide;
		uint32_t number;
		uint8_t byte;

		CHECK(tlv.value >= frame->payload);
		CHECK(tlv.value + tlv.length <= frame->payload + frame->length);
		if (wire_tlv_text(&tlv, &text) == 0)
			CHECK(strlen(text) + 1 == tlv.length);
		(void)wire_tlv_u8(&tlv, &byte);
		(void)wire_tlv_u32(&tlv, &number);
		(void)wire_tlv_u64(&tlv, &wide);
	}
}

static void check_frame(const WireFrame *frame)
{
	WireHello hello;

	CHECK(frame->length <= WIRE_PAYLOAD_MAX);
	CHECK(wire_pack(packed, sizeof(packed), frame) == WIRE_HEADER_SIZE + frame->length);
	CHECK(frame->length == 0 ||
	      !memcmp(packed + WIRE_HEADER_SIZE, frame->payload, frame->length));
	switch (frame->type) {
	case WIRE_HELLO:
		wire_unpack_hello(frame, &hello);
		break;
	case WIRE_OPEN:
	case WIRE_INFO:
	case WIRE_CLOSE:
		walk_tlvs(frame);
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = size ? (size_t)data[0] * 17 + 1 : 1;

	wire_parser_init(&parser);
	for (size_t at = size ? 1 : 0; at < size;) {
		uint8_t *room_at;
		size_t room = wire_parser_space(&parser, &room_at);
		size_t count = size - at < piece ? size - at : piece;
		WireFrame frame;
		WireGot got;

		CHECK(room > 0);
		count = count < room ? count : room;
		memcpy(room_at, data + at, count);
		wire_parser_fed(&parser, count);
		at += count;
		while ((got = wire_parser_next(&parser, &frame)) != WIRE_NEED_MORE)
			if (got == WIRE_GOT_FRAME)
				check_frame(&frame);
	}
	return 0;
}
