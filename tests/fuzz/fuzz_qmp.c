/*
 * What the hypervisor says on its monitor: any bytes, in pieces. It runs untrusted guests.
 */
#include "fuzz.h"
#include "hypervisor/qmp.h"

static QmpReader reader;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = size ? (size_t)data[0] * 31 + 1 : 1;

	reader = (QmpReader){ 0 };
	for (size_t at = size ? 1 : 0; at < size;) {
		char *room_at;
		size_t room = qmp_reader_space(&reader, &room_at);
		size_t count = size - at < piece ? size - at : piece;
		auto_error err = NULL;

		CHECK(room > 0);
		count = count < room ? count : room;
		memcpy(room_at, data + at, count);
		qmp_reader_fed(&reader, count);
		at += count;
		for (;;) {
			auto_qmp_message QmpMessage message = { 0 };
			int got = qmp_reader_next(&reader, &message, &err);

			if (got < 0) {
				CHECK(err);
				return 0;
			}
			if (got == 0)
				break;
			CHECK(message.kind != QMP_EVENT || message.name);
		}
	}
	return 0;
}
