#include "agent/wire.h"

#include "test.h"

static WireParser parser;
static uint8_t packed[4 * WIRE_FRAME_MAX];
static uint8_t payload[WIRE_PAYLOAD_MAX];

/* Feed bytes in pieces of at most `piece`, counting what comes out. */
static void feed(const uint8_t *bytes, size_t size, size_t piece, int *frames, int *malformed)
{
	while (size > 0) {
		uint8_t *at;
		size_t room = wire_parser_space(&parser, &at);
		size_t count = size < piece ? size : piece;
		WireFrame frame;
		WireGot got;

		CHECK(room > 0);
		if (count > room)
			count = room;
		memcpy(at, bytes, count);
		wire_parser_fed(&parser, count);
		bytes += count;
		size -= count;
		while ((got = wire_parser_next(&parser, &frame)) != WIRE_NEED_MORE)
			++*(got == WIRE_GOT_FRAME ? frames : malformed);
	}
}

static size_t pack(size_t at, WireType type, uint32_t stream, uint32_t length)
{
	WireFrame frame = {
		.type = (uint8_t)type,
		.stream = stream,
		.length = length,
		.payload = payload,
	};
	size_t size = wire_pack(packed + at, sizeof(packed) - at, &frame);

	CHECK(size > 0);
	return at + size;
}

static size_t pack_hello(size_t at, uint64_t session)
{
	WireHello hello = { .version = 1, .step = WIRE_STEP_REQUEST, .session = session };

	return at + wire_pack_hello(packed + at, &hello);
}

static void test_hello_round_trip(void)
{
	WireHello in = { .version = 7, .step = WIRE_STEP_ACCEPT, .session = 0x0123456789abcdefULL };
	WireHello out;
	WireFrame frame;
	uint8_t *at;

	wire_parser_init(&parser);
	(void)wire_parser_space(&parser, &at);
	wire_parser_fed(&parser, wire_pack_hello(at, &in));
	CHECK_INT(wire_parser_next(&parser, &frame), WIRE_GOT_FRAME);
	CHECK_INT(frame.type, WIRE_HELLO);
	wire_unpack_hello(&frame, &out);
	CHECK_INT(out.version, 7);
	CHECK_INT(out.step, WIRE_STEP_ACCEPT);
	CHECK(out.session == in.session);
	CHECK_INT(wire_parser_next(&parser, &frame), WIRE_NEED_MORE);
}

/* The byte layout is a contract between versions of different programs: pin it. */
static void test_layout(void)
{
	static const uint8_t want[] = { 3,    0,    0,	  0, WIRE_DATA, 1,   0,	 0,
					0x44, 0x33, 0x22, 1, 'a',	'b', 'c' };
	WireFrame frame = {
		.type = WIRE_DATA,
		.channel = WIRE_CHANNEL_STDERR,
		.stream = 0x01223344,
		.length = 3,
		.payload = (const uint8_t *)"abc",
	};

	CHECK_INT(wire_pack(packed, sizeof(packed), &frame), sizeof(want));
	CHECK(memcmp(packed, want, sizeof(want)) == 0);
	CHECK_INT(wire_pack(packed, sizeof(want) - 1, &frame), 0);
	CHECK_INT(WIRE_DATA, 4);
	CHECK_INT(WIRE_PONG, 10);
	CHECK_INT(WIRE_SERVICE_SET_IDENTITY, 8);
	CHECK_INT(WIRE_SERVICE_TRIM, 9);
	CHECK_INT(WIRE_SERVICE_FREEZE, 10);
	CHECK_INT(WIRE_SERVICE_WAIT_READY, 133);
	CHECK_INT(WIRE_TAG_TIMEOUT_MS, 16);
	CHECK_INT(WIRE_TAG_STATE, 71);
	CHECK_INT(WIRE_TAG_HELD_US, 74);
	CHECK_INT(WIRE_ERR_TIMEOUT, 14);
}

static void test_any_fragmentation(void)
{
	static const size_t pieces[] = { 1, 2, 3, 7, 11, 12, 13, 4096, 65536, sizeof(packed) };

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		int frames = 0, malformed = 0;
		size_t size = pack_hello(0, 1);

		size = pack(size, WIRE_OPEN, 1, 100);
		size = pack(size, WIRE_DATA, 1, WIRE_PAYLOAD_MAX);
		size = pack(size, WIRE_EOF, 1, 0);
		size = pack(size, WIRE_DATA, 2, 1);
		size = pack(size, WIRE_CLOSE, 1, WIRE_PAYLOAD_MAX);
		wire_parser_init(&parser);
		feed(packed, size, pieces[i], &frames, &malformed);
		CHECK_INT(frames, 6);
		CHECK_INT(malformed, 0);
	}
}

static void test_nothing_before_hello(void)
{
	int frames = 0, malformed = 0;
	size_t size = pack(0, WIRE_OPEN, 1, 3000);

	/* Beginnings of a HELLO that turn out to be something else. */
	memcpy(packed + size, packed, WIRE_HEADER_SIZE);
	size = pack_hello(size, 1) - WIRE_HELLO_SIZE + 8;
	size = pack_hello(size, 1);
	wire_parser_init(&parser);
	feed(packed, size, 5, &frames, &malformed);
	CHECK_INT(frames, 1);
	CHECK_INT(malformed, 0);
}

static void check_malformed(size_t header_byte, uint8_t value, WireType type, uint32_t length)
{
	int frames = 0, malformed = 0;
	size_t begin = pack_hello(0, 1), size = pack(begin, type, 5, length);

	packed[begin + header_byte] = value;
	size = pack_hello(size, 2);
	size = pack(size, WIRE_PING, 0, 4);
	wire_parser_init(&parser);
	feed(packed, size, 9, &frames, &malformed);
	if (malformed != 1 || frames != 3)
		printf("# byte %zu = %u of type %d\n", header_byte, value, (int)type);
	CHECK_INT(malformed, 1);
	CHECK_INT(frames, 3);
}

static void test_malformed_then_resync(void)
{
	check_malformed(4, 0, WIRE_DATA, 10);
	check_malformed(4, WIRE_PONG + 1, WIRE_DATA, 10);
	check_malformed(4, 255, WIRE_DATA, 10);
	check_malformed(5, 2, WIRE_DATA, 10);
	check_malformed(5, 1, WIRE_OPEN, 10);
	check_malformed(6, 1, WIRE_DATA, 10);
	check_malformed(7, 1, WIRE_DATA, 10);
	check_malformed(8, 0, WIRE_DATA, 10);
	check_malformed(3, 1, WIRE_DATA, 10);
	check_malformed(2, 2, WIRE_DATA, 10);
	check_malformed(0, 0, WIRE_DATA, 10);
	check_malformed(0, 3, WIRE_WINDOW_ADD, 4);
	check_malformed(0, 1, WIRE_EOF, 0);
	check_malformed(0, 1, WIRE_RESET, 0);
	check_malformed(4, WIRE_PING, WIRE_DATA, 10);
	check_malformed(4, WIRE_HELLO, WIRE_DATA, 10);
}

/* A host that finds the guest in mid-frame: whatever was begun, zeros and a HELLO get through. */
static void test_flush(void)
{
	static uint8_t zeros[WIRE_FLUSH_SIZE];
	static const size_t begun[] = { 1, 4, 5, 11, 12, 13, 40000, WIRE_FRAME_MAX - 1 };

	for (size_t i = 0; i < sizeof(begun) / sizeof(begun[0]); i++) {
		int frames = 0, malformed = 0;
		size_t hello = pack_hello(0, 1);

		(void)pack(hello, WIRE_DATA, 9, WIRE_PAYLOAD_MAX);
		wire_parser_init(&parser);
		feed(packed, hello + begun[i], 4096, &frames, &malformed);
		feed(zeros, sizeof(zeros), 4096, &frames, &malformed);
		frames = 0;
		feed(packed, hello, 4096, &frames, &malformed);
		CHECK_INT(malformed, 1);
		CHECK_INT(frames, 1);
	}
}

static void test_tlv_round_trip(void)
{
	WireWriter writer;
	WireReader reader;
	WireFrame frame;
	WireTlv tlv;
	uint8_t byte, *at;
	uint32_t word;
	uint64_t wide;
	const char *text;
	size_t hello;

	wire_writer_begin(&writer, packed, sizeof(packed), WIRE_OPEN, 77);
	wire_put_u8(&writer, WIRE_TAG_SERVICE, WIRE_SERVICE_EXEC);
	wire_put_text(&writer, WIRE_TAG_ARG, "");
	wire_put_text(&writer, WIRE_TAG_ARG, "h\xc3\xa9llo");
	wire_put_u32(&writer, WIRE_TAG_FLAGS, 0xfedcba98);
	wire_put_u64(&writer, WIRE_TAG_SIZE, 1ULL << 40 | 5);

	wire_parser_init(&parser);
	(void)wire_parser_space(&parser, &at);
	hello = wire_pack_hello(at, &(WireHello){ .version = 1 });
	memcpy(at + hello, packed, wire_writer_finish(&writer));
	wire_parser_fed(&parser, hello + writer.used);
	CHECK_INT(wire_parser_next(&parser, &frame), WIRE_GOT_FRAME);
	CHECK_INT(wire_parser_next(&parser, &frame), WIRE_GOT_FRAME);
	CHECK_INT(frame.type, WIRE_OPEN);
	CHECK_INT(frame.stream, 77);

	reader = wire_reader(&frame);
	CHECK_INT(wire_tlv_next(&reader, &tlv), 1);
	CHECK_INT(tlv.tag, WIRE_TAG_SERVICE);
	CHECK_INT(wire_tlv_u8(&tlv, &byte), 0);
	CHECK_INT(byte, WIRE_SERVICE_EXEC);
	CHECK_INT(wire_tlv_u32(&tlv, &word), -1);
	CHECK_INT(wire_tlv_next(&reader, &tlv), 1);
	CHECK_INT(wire_tlv_text(&tlv, &text), 0);
	CHECK_STR(text, "");
	CHECK_INT(wire_tlv_next(&reader, &tlv), 1);
	CHECK_INT(wire_tlv_text(&tlv, &text), 0);
	CHECK_STR(text, "h\xc3\xa9llo");
	CHECK_INT(wire_tlv_next(&reader, &tlv), 1);
	CHECK_INT(wire_tlv_text(&tlv, &text), -1);
	CHECK_INT(wire_tlv_u64(&tlv, &wide), -1);
	CHECK_INT(wire_tlv_u32(&tlv, &word), 0);
	CHECK_INT(word, 0xfedcba98);
	CHECK_INT(wire_tlv_next(&reader, &tlv), 1);
	CHECK_INT(wire_tlv_u64(&tlv, &wide), 0);
	CHECK(wide == (1ULL << 40 | 5));
	CHECK_INT(wire_tlv_next(&reader, &tlv), 0);
}

static void test_tlv_malformed(void)
{
	static const uint8_t cut[] = { WIRE_TAG_ARG, 2, 0, 0, 0, 'a' };
	static const uint8_t huge[] = { WIRE_TAG_ARG, 255, 255, 255, 255, 'a', 0 };
	static const uint8_t inner[] = { WIRE_TAG_ARG, 3, 0, 0, 0, 'a', 0, 0 };
	WireTlv tlv;
	const char *text;
	WireReader reader;

	for (uint32_t size = 1; size <= sizeof(cut); size++) {
		reader = wire_reader(&(WireFrame){ .payload = cut, .length = size });
		CHECK_INT(wire_tlv_next(&reader, &tlv), -1);
	}
	reader = wire_reader(&(WireFrame){ .payload = huge, .length = sizeof(huge) });
	CHECK_INT(wire_tlv_next(&reader, &tlv), -1);
	reader = wire_reader(&(WireFrame){ .payload = inner, .length = sizeof(inner) });
	CHECK_INT(wire_tlv_next(&reader, &tlv), 1);
	CHECK_INT(wire_tlv_text(&tlv, &text), -1);
}

static void test_writer_overflow(void)
{
	WireWriter writer;
	uint8_t small[WIRE_HEADER_SIZE + WIRE_TLV_HEADER_SIZE + 4];

	wire_writer_begin(&writer, small, sizeof(small), WIRE_CLOSE, 1);
	wire_put_u32(&writer, WIRE_TAG_STATUS, 1);
	CHECK_INT(wire_writer_finish(&writer), sizeof(small));
	wire_put_u8(&writer, WIRE_TAG_ERROR, 1);
	CHECK_INT(wire_writer_finish(&writer), 0);

	wire_writer_begin(&writer, packed, sizeof(packed), WIRE_OPEN, 1);
	wire_put_bytes(&writer, WIRE_TAG_ARG, payload, WIRE_PAYLOAD_MAX - WIRE_TLV_HEADER_SIZE);
	CHECK_INT(wire_writer_finish(&writer), WIRE_FRAME_MAX);
	wire_put_bytes(&writer, WIRE_TAG_ARG, payload, 0);
	CHECK_INT(wire_writer_finish(&writer), 0);
}

static void test_error_names(void)
{
	CHECK_STR(wire_error_name(WIRE_ERR_NOT_FOUND), "not_found");
	CHECK_STR(wire_error_name(WIRE_ERR_TIMEOUT), "timeout");
	CHECK_STR(wire_error_name(0), "failed");
	CHECK_STR(wire_error_name(200), "failed");
}

TEST_MAIN({ "hello round trip", test_hello_round_trip }, { "byte layout", test_layout },
	  { "frames survive any fragmentation", test_any_fragmentation },
	  { "nothing is taken before a hello", test_nothing_before_hello },
	  { "malformed frames, then resync", test_malformed_then_resync },
	  { "zeros end a frame of a dead host", test_flush },
	  { "tlv round trip", test_tlv_round_trip }, { "malformed tlv", test_tlv_malformed },
	  { "a writer that is full says so", test_writer_overflow },
	  { "error names", test_error_names });
