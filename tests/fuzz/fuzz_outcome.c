/*
 * What the client makes of an answer: any payload of a CLOSE or INFO from a guest. Texts that come
 * out are short and printable, amounts fit where they are shown, and a failure always explains itself.
 */
#include "agent/conn.h"
#include "fuzz.h"

static void check_text(const char *text)
{
	if (!text)
		return;
	CHECK(strlen(text) <= CLIENT_MESSAGE_MAX);
	for (; *text; text++)
		CHECK((unsigned char)*text >= 0x20 && *text != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	WireFrame frame = {
		.type = WIRE_CLOSE,
		.stream = 1,
		.length = size < WIRE_PAYLOAD_MAX ? (uint32_t)size : WIRE_PAYLOAD_MAX,
		.payload = data,
	};
	auto_outcome Outcome outcome = { 0 };
	auto_error err = NULL;

	if (conn_outcome(&frame, &outcome, &err) < 0) {
		CHECK(err != NULL);
		return 0;
	}
	check_text(outcome.message);
	check_text(outcome.state);
	check_text(outcome.version);
	CHECK(outcome.size <= INT64_MAX && outcome.held_us <= INT64_MAX);
	CHECK(outcome.uptime_ms <= INT64_MAX && outcome.started <= INT64_MAX);
	if (conn_check(&outcome, &err) < 0)
		CHECK(err != NULL && outcome.has_error);
	else
		CHECK(!outcome.has_error);
	return 0;
}
