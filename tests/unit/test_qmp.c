#include "test.h"

#include "hypervisor/qmp.h"
#include "util/mem.h"

static QmpReader reader;

static void feed(const char *text)
{
	char *at;
	size_t len = strlen(text);

	CHECK(qmp_reader_space(&reader, &at) >= len);
	memcpy(at, text, len);
	qmp_reader_fed(&reader, len);
}

static void test_conversation(void)
{
	auto_error err = NULL;
	QmpMessage message = { 0 };

	reader = (QmpReader){ 0 };
	feed("{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n{\"return\": {}, \"id\": ");
	CHECK_INT(qmp_reader_next(&reader, &message, &err), 1);
	CHECK_INT(message.kind, QMP_GREETING);
	qmp_message_release(&message);
	CHECK_INT(qmp_reader_next(&reader, &message, &err), 0);
	feed("7}\r\n\r\n{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": "
	     "\"guest-shutdown\"}, \"timestamp\": {\"seconds\": 1}}\r\n");
	CHECK_INT(qmp_reader_next(&reader, &message, &err), 1);
	CHECK_INT(message.kind, QMP_RETURN);
	CHECK_INT(message.id, 7);
	qmp_message_release(&message);
	CHECK_INT(qmp_reader_next(&reader, &message, &err), 1);
	CHECK_INT(message.kind, QMP_EVENT);
	CHECK_STR(message.name, "SHUTDOWN");
	CHECK_STR(message.text, "guest-shutdown");
	qmp_message_release(&message);
	CHECK_INT(qmp_reader_next(&reader, &message, &err), 0);
}

static void test_answers(void)
{
	static const char status[] =
		"{\"return\": {\"status\": \"paused\", \"running\": false}, \"id\": 2}";
	static const char failure[] = "{\"id\": 3, \"error\": {\"class\": \"GenericError\", "
				      "\"desc\": \"no \\u001b[31m such\"}}";
	static const char blocks[] =
		"{\"return\": [{\"device\": \"\"}, {\"inserted\": {\"node-name\": \"disk0\"}}, "
		"{\"inserted\": {\"node-name\": \"disk1\"}}], \"id\": 4}";
	static const char no_blocks[] = "{\"return\": [], \"id\": 5}";
	auto_qmp_message QmpMessage first = { 0 };
	auto_qmp_message QmpMessage second = { 0 };
	auto_qmp_message QmpMessage third = { 0 };
	auto_qmp_message QmpMessage fourth = { 0 };
	auto_error err = NULL;

	CHECK_OK(qmp_parse(blocks, strlen(blocks), &third, &err), err);
	CHECK_STR(third.text, "disk0");
	CHECK_OK(qmp_parse(no_blocks, strlen(no_blocks), &fourth, &err), err);
	CHECK(!fourth.text);
	CHECK_OK(qmp_parse(status, strlen(status), &first, &err), err);
	CHECK_STR(first.text, "paused");
	CHECK_OK(qmp_parse(failure, strlen(failure), &second, &err), err);
	CHECK_INT(second.kind, QMP_ERROR);
	CHECK_STR(second.text, "no ?[31m such");
}

static void test_garbage(void)
{
	static const char *const bad[] = {
		"hello",
		"[]",
		"{}",
		"{\"event\": 7}",
		"{\"return\": {}, \"id\": \"x\"}",
		"{\"return\": {}, \"id\": -1}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		QmpMessage message = { 0 };
		auto_error err = NULL;

		CHECK(qmp_parse(bad[i], strlen(bad[i]), &message, &err) < 0);
		CHECK(err);
		CHECK(!message.name && !message.text);
	}
}

static void test_endless_line(void)
{
	auto_error err = NULL;
	QmpMessage message = { 0 };
	char *at;
	size_t room;

	reader = (QmpReader){ 0 };
	while ((room = qmp_reader_space(&reader, &at)) > 0) {
		memset(at, 'x', room);
		qmp_reader_fed(&reader, room);
	}
	CHECK_FAILS(qmp_reader_next(&reader, &message, &err), err, ERR_FAILED);
}

static void test_command(void)
{
	auto_free char *line = qmp_command(4, "query-status", NULL);
	auto_free char *resize =
		qmp_command(5, "block_resize", json_pack("{s:s}", "node-name", "disk\"0"));

	CHECK_STR(line, "{\"execute\":\"query-status\",\"id\":4}\r\n");
	CHECK_STR(resize, "{\"execute\":\"block_resize\",\"arguments\":"
			  "{\"node-name\":\"disk\\\"0\"},\"id\":5}\r\n");
}

TEST_MAIN({ "a conversation in pieces", test_conversation }, { "answers", test_answers },
	  { "garbage is refused", test_garbage },
	  { "a line without end is refused", test_endless_line }, { "commands", test_command })
