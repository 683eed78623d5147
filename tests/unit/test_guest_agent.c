/*
 * The real agent (built for this machine) at the other end of a socketpair: every service that
 * leaves the machine alone, and what a hostile or half-dead host can do.
 */
#include "agent/wire.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

#define PATIENCE_MS 30000
#define OUTPUT_MAX  ((size_t)4 * 1024 * 1024)

/* What has come for one stream. */
typedef struct Reply {
	uint32_t id;
	char *out, *err;
	size_t out_size, err_size;
	uint32_t unacknowledged; /* received and not granted again */
	bool is_stalled;	 /* grant nothing */
	bool has_info, is_closed, is_reset;
	int status, signal_number, error;
	uint32_t mode, pid;
	uint64_t size;
	char message[256];
} Reply;

static struct {
	int fd;
	pid_t pid;
	WireParser parser;
	uint64_t session, accepted;
	uint32_t accepted_version;
	unsigned announces, pongs;
	uint32_t next_id;
	Reply *replies[128];
	size_t reply_count;
} host;

static char directory[64];

static void send_bytes(const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t done = send(host.fd, at, size, MSG_NOSIGNAL);

		CHECK(done > 0);
		at += done;
		size -= (size_t)done;
	}
}

static void send_frame(WireType type, uint32_t stream, const void *payload, uint32_t length)
{
	static uint8_t packed[WIRE_FRAME_MAX];
	WireFrame frame = {
		.type = (uint8_t)type,
		.stream = stream,
		.length = length,
		.payload = payload,
	};

	send_bytes(packed, wire_pack(packed, sizeof(packed), &frame));
}

static void grant(uint32_t stream, uint32_t size)
{
	uint8_t payload[4];

	wire_set_u32(payload, size);
	send_frame(WIRE_WINDOW_ADD, stream, payload, sizeof(payload));
}

static Reply *find_reply(uint32_t id)
{
	for (size_t i = 0; i < host.reply_count; i++)
		if (host.replies[i]->id == id)
			return host.replies[i];
	return NULL;
}

static void take_data(Reply *reply, const WireFrame *frame)
{
	char **text = frame->channel ? &reply->err : &reply->out;
	size_t *size = frame->channel ? &reply->err_size : &reply->out_size;

	CHECK(*size + frame->length < OUTPUT_MAX);
	*text = realloc(*text, *size + frame->length + 1);
	CHECK(*text);
	memcpy(*text + *size, frame->payload, frame->length);
	*size += frame->length;
	(*text)[*size] = '\0';
	reply->unacknowledged += frame->length;
	if (!reply->is_stalled && reply->unacknowledged >= WIRE_WINDOW / 4) {
		grant(reply->id, reply->unacknowledged);
		reply->unacknowledged = 0;
	}
}

static void take_answer(Reply *reply, const WireFrame *frame)
{
	WireReader reader = wire_reader(frame);
	const char *text;
	uint32_t number;
	uint8_t byte;
	WireTlv tlv;

	while (wire_tlv_next(&reader, &tlv) == 1) {
		if (tlv.tag == WIRE_TAG_STATUS && wire_tlv_u32(&tlv, &number) == 0)
			reply->status = (int)number;
		else if (tlv.tag == WIRE_TAG_SIGNAL && wire_tlv_u32(&tlv, &number) == 0)
			reply->signal_number = (int)number;
		else if (tlv.tag == WIRE_TAG_ERROR && wire_tlv_u8(&tlv, &byte) == 0)
			reply->error = byte;
		else if (tlv.tag == WIRE_TAG_MESSAGE && wire_tlv_text(&tlv, &text) == 0)
			(void)snprintf(reply->message, sizeof(reply->message), "%s", text);
		else if (tlv.tag == WIRE_TAG_SIZE)
			CHECK_INT(wire_tlv_u64(&tlv, &reply->size), 0);
		else if (tlv.tag == WIRE_TAG_MODE)
			CHECK_INT(wire_tlv_u32(&tlv, &reply->mode), 0);
		else if (tlv.tag == WIRE_TAG_PID)
			CHECK_INT(wire_tlv_u32(&tlv, &reply->pid), 0);
	}
}

static void take_frame(const WireFrame *frame)
{
	Reply *reply = find_reply(frame->stream);
	WireHello hello;

	if (frame->type == WIRE_HELLO) {
		wire_unpack_hello(frame, &hello);
		host.announces += hello.step == WIRE_STEP_ANNOUNCE;
		if (hello.step == WIRE_STEP_ACCEPT) {
			host.accepted = hello.session;
			host.accepted_version = hello.version;
		}
	} else if (frame->type == WIRE_PONG) {
		host.pongs++;
	} else if (reply && frame->type == WIRE_DATA) {
		take_data(reply, frame);
	} else if (reply && (frame->type == WIRE_INFO || frame->type == WIRE_CLOSE)) {
		CHECK(!reply->is_closed && !reply->is_reset);
		take_answer(reply, frame);
		reply->has_info |= frame->type == WIRE_INFO;
		reply->is_closed |= frame->type == WIRE_CLOSE;
	} else if (reply && frame->type == WIRE_RESET) {
		CHECK(!reply->is_closed && !reply->is_reset);
		reply->is_reset = true;
	}
}

/* Take what comes within `timeout_ms`. False when nothing did. */
static bool take(int timeout_ms)
{
	struct pollfd watch = { .fd = host.fd, .events = POLLIN };
	WireFrame frame;
	uint8_t *at;
	size_t room;
	ssize_t got;

	if (poll(&watch, 1, timeout_ms) <= 0)
		return false;
	room = wire_parser_space(&host.parser, &at);
	got = recv(host.fd, at, room, 0);
	CHECK(got > 0);
	wire_parser_fed(&host.parser, (size_t)got);
	for (;;) {
		WireGot result = wire_parser_next(&host.parser, &frame);

		if (result == WIRE_NEED_MORE)
			return true;
		CHECK_INT(result, WIRE_GOT_FRAME); /* the agent never says anything malformed */
		take_frame(&frame);
	}
}

#define WAIT_FOR(condition)                       \
	do {                                      \
		while (!(condition))              \
			CHECK(take(PATIENCE_MS)); \
	} while (0)

static void send_hello(uint32_t version)
{
	uint8_t packed[WIRE_HEADER_SIZE + WIRE_HELLO_SIZE];
	WireHello hello = { version, WIRE_STEP_REQUEST, ++host.session };

	send_bytes(packed, wire_pack_hello(packed, &hello));
}

static void begin_session(void)
{
	send_hello(WIRE_VERSION);
	WAIT_FOR(host.accepted == host.session);
}

static void start_agent(void)
{
	const char *program = getenv("EMBER_GUEST_NATIVE");
	int ends[2];

	if (!program)
		test_skip("EMBER_GUEST_NATIVE is not set");
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	host.pid = fork();
	CHECK(host.pid >= 0);
	if (host.pid == 0) {
		if (dup2(ends[1], 3) == 3)
			(void)execl(program, program, "agent", "--channel", "3", (char *)NULL);
		_exit(127);
	}
	(void)close(ends[1]);
	host.fd = ends[0];
	wire_parser_init(&host.parser);
	host.session = 100;
	host.announces = host.pongs = 0;
	begin_session();
}

static void forget_replies(void)
{
	while (host.reply_count > 0) {
		Reply *reply = host.replies[--host.reply_count];

		free(reply->out);
		free(reply->err);
		free(reply);
	}
}

/* The agent must end when its channel does, and end well (sanitizers speak by the status). */
static void stop_agent(void)
{
	int status;

	forget_replies();
	(void)close(host.fd);
	CHECK_INT(waitpid(host.pid, &status, 0), host.pid);
	CHECK_INT(status, 0);
}

/* A request whose further values are added by the caller, who then calls open_request(). */
static WireWriter begin_request(unsigned service)
{
	static uint8_t buffer[WIRE_FRAME_MAX];
	WireWriter writer;

	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_OPEN, ++host.next_id);
	wire_put_u8(&writer, WIRE_TAG_SERVICE, (uint8_t)service);
	return writer;
}

static Reply *open_request(WireWriter *writer)
{
	Reply *reply = calloc(1, sizeof(*reply));

	CHECK(reply && host.reply_count < sizeof(host.replies) / sizeof(host.replies[0]));
	reply->id = host.next_id;
	reply->status = -1;
	host.replies[host.reply_count++] = reply;
	send_bytes(writer->buffer, wire_writer_finish(writer));
	return reply;
}

static Reply *finish(Reply *reply)
{
	WAIT_FOR(reply->is_closed || reply->is_reset);
	return reply;
}

static Reply *start_shell(const char *script)
{
	WireWriter writer = begin_request(WIRE_SERVICE_EXEC);

	wire_put_text(&writer, WIRE_TAG_ARG, "sh");
	wire_put_text(&writer, WIRE_TAG_ARG, "-c");
	wire_put_text(&writer, WIRE_TAG_ARG, script);
	return open_request(&writer);
}

static Reply *run_shell(const char *script, const char *input)
{
	Reply *reply = start_shell(script);

	if (input)
		send_frame(WIRE_DATA, reply->id, input, (uint32_t)strlen(input));
	send_frame(WIRE_EOF, reply->id, NULL, 0);
	return finish(reply);
}

static const char *in_directory(const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void test_ping(void)
{
	WireWriter writer;
	Reply *reply;

	start_agent();
	CHECK_INT(host.announces, 1);
	writer = begin_request(WIRE_SERVICE_PING);
	reply = finish(open_request(&writer));
	CHECK(reply->is_closed);
	CHECK_INT(reply->error, 0);
	send_frame(WIRE_PING, 0, "abc", 3);
	WAIT_FOR(host.pongs == 1);
	stop_agent();
}

static void test_exec(void)
{
	Reply *reply;

	start_agent();
	reply = run_shell("cat; echo oops >&2; exit 7", "hello");
	CHECK_STR(reply->out, "hello");
	CHECK_STR(reply->err, "oops\n");
	CHECK_INT(reply->status, 7);
	CHECK(reply->has_info && reply->pid > 0);
	reply = run_shell("kill -9 $$", NULL);
	CHECK_INT(reply->signal_number, 9);
	CHECK_INT(reply->status, -1);
	stop_agent();
}

static void test_exec_surroundings(void)
{
	WireWriter writer;
	Reply *reply;

	start_agent();
	writer = begin_request(WIRE_SERVICE_EXEC);
	wire_put_text(&writer, WIRE_TAG_ARG, "sh");
	wire_put_text(&writer, WIRE_TAG_ARG, "-c");
	wire_put_text(&writer, WIRE_TAG_ARG,
		      "echo \"$A|$B|${PATH:+path}|${HOME:+home}|$(pwd)\"; cat");
	wire_put_text(&writer, WIRE_TAG_ENV, "A=1");
	wire_put_text(&writer, WIRE_TAG_ENV, "B=x y");
	wire_put_text(&writer, WIRE_TAG_CWD, "/usr");
	wire_put_u32(&writer, WIRE_TAG_FLAGS, WIRE_EXEC_NO_STDIN);
	reply = finish(open_request(&writer));
	CHECK_STR(reply->out, "1|x y|path|home|/usr\n");
	CHECK_INT(reply->status, 0);
	stop_agent();
}

static void check_exec_fails(const char *program, const char *cwd, const char *user, WireError want)
{
	WireWriter writer = begin_request(WIRE_SERVICE_EXEC);
	Reply *reply;

	if (program)
		wire_put_text(&writer, WIRE_TAG_ARG, program);
	if (cwd)
		wire_put_text(&writer, WIRE_TAG_CWD, cwd);
	if (user)
		wire_put_text(&writer, WIRE_TAG_USER, user);
	reply = finish(open_request(&writer));
	CHECK_STR(wire_error_name((unsigned)reply->error), wire_error_name(want));
	CHECK(reply->message[0] != '\0');
	CHECK(!reply->has_info);
}

static void test_exec_failures(void)
{
	start_agent();
	check_exec_fails("no-such-program", NULL, NULL, WIRE_ERR_NOT_FOUND);
	check_exec_fails("/no/such/program", NULL, NULL, WIRE_ERR_NOT_FOUND);
	check_exec_fails("/etc/passwd", NULL, NULL, WIRE_ERR_DENIED);
	check_exec_fails("true", "/no/such/directory", NULL, WIRE_ERR_BAD_CWD);
	check_exec_fails("true", NULL, "no such user", WIRE_ERR_BAD_USER);
	check_exec_fails("true", NULL, "0:no such group", WIRE_ERR_BAD_USER);
	check_exec_fails(NULL, NULL, NULL, WIRE_ERR_BAD_REQUEST);
	(void)run_shell("true", NULL);
	stop_agent();
}

static void test_background_child(void)
{
	time_t begin = time(NULL);
	Reply *reply;

	start_agent();
	reply = run_shell("sleep 20 & echo started", NULL);
	CHECK_STR(reply->out, "started\n");
	CHECK_INT(reply->status, 0);
	CHECK(time(NULL) - begin < 10);
	reply = run_shell("(while :; do echo more; done) & exit 3", NULL);
	CHECK_INT(reply->status, 3);
	stop_agent();
}

static void test_output_is_whole(void)
{
	Reply *reply;

	start_agent();
	reply = run_shell("head -c 3000000 /dev/zero", NULL);
	CHECK_INT(reply->out_size, 3000000);
	CHECK_INT(reply->status, 0);
	stop_agent();
}

static void test_flow_control(void)
{
	Reply *stalled, *other;

	start_agent();
	stalled = start_shell("yes");
	stalled->is_stalled = true;
	WAIT_FOR(stalled->out_size == WIRE_WINDOW);
	CHECK(!take(200));
	other = run_shell("echo still here", NULL);
	CHECK_STR(other->out, "still here\n");
	grant(stalled->id, 1000);
	WAIT_FOR(stalled->out_size == WIRE_WINDOW + 1000);
	CHECK(!take(100));
	send_frame(WIRE_RESET, stalled->id, NULL, 0);
	CHECK(finish(stalled)->is_reset);
	stop_agent();
}

static void test_parallel(void)
{
	enum { COUNT = 64 };
	Reply *replies[COUNT];
	char text[64];

	start_agent();
	for (int i = 0; i < COUNT; i++) {
		(void)snprintf(text, sizeof(text), "cat; echo %d >&2; exit %d", i, i);
		replies[i] = start_shell(text);
	}
	for (int i = 0; i < COUNT; i++) {
		if (i > 0)
			send_frame(WIRE_DATA, replies[i]->id, text, (uint32_t)i);
		send_frame(WIRE_EOF, replies[i]->id, NULL, 0);
	}
	for (int i = 0; i < COUNT; i++) {
		CHECK_INT(finish(replies[i])->status, i);
		CHECK_INT(replies[i]->out_size, i);
	}
	stop_agent();
}

static bool is_alive(pid_t pid)
{
	return kill(pid, 0) == 0;
}

static void test_reset_kills_group(void)
{
	Reply *gentle, *stubborn;

	start_agent();
	gentle = start_shell("sleep 1000 & wait");
	stubborn = start_shell("trap '' HUP; echo ready; sleep 1000");
	WAIT_FOR(gentle->has_info && stubborn->out_size > 0);
	send_frame(WIRE_RESET, gentle->id, NULL, 0);
	send_frame(WIRE_RESET, stubborn->id, NULL, 0);
	CHECK(finish(gentle)->is_reset && finish(stubborn)->is_reset);
	for (int i = 0; i < 1000 && is_alive((pid_t)stubborn->pid); i++)
		(void)usleep(10000);
	CHECK(!is_alive((pid_t)stubborn->pid));
	CHECK(!is_alive((pid_t)gentle->pid));
	stop_agent();
}

static void check_reset(Reply *reply)
{
	CHECK(finish(reply)->is_reset);
}

static void test_rules_of_streams(void)
{
	static char block[WIRE_WINDOW];
	uint8_t huge[4] = { 255, 255, 255, 255 };
	WireFrame stderr_data = {
		.type = WIRE_DATA, .channel = 1, .length = 1, .payload = (uint8_t *)block
	};
	uint8_t packed[64];
	Reply *reply;

	start_agent();
	reply = start_shell("sleep 1000"); /* a pipe, a window, and one more */
	for (int i = 0; i < 3; i++)
		send_frame(WIRE_DATA, reply->id, block, sizeof(block));
	check_reset(reply);
	reply = start_shell("sleep 1000");
	send_frame(WIRE_WINDOW_ADD, reply->id, huge, sizeof(huge));
	check_reset(reply);
	reply = start_shell("sleep 1000");
	send_frame(WIRE_EOF, reply->id, NULL, 0);
	send_frame(WIRE_EOF, reply->id, NULL, 0);
	check_reset(reply);
	reply = start_shell("sleep 1000");
	send_frame(WIRE_OPEN, reply->id, NULL, 0);
	check_reset(reply);
	reply = start_shell("sleep 1000");
	send_frame(WIRE_CLOSE, reply->id, NULL, 0);
	check_reset(reply);
	reply = start_shell("sleep 1000");
	stderr_data.stream = reply->id;
	send_bytes(packed, wire_pack(packed, sizeof(packed), &stderr_data));
	check_reset(reply);

	/* Streams that are not there: silence, not trouble. */
	send_frame(WIRE_DATA, 99999, "x", 1);
	send_frame(WIRE_EOF, 99999, NULL, 0);
	send_frame(WIRE_RESET, 99999, NULL, 0);
	CHECK_INT(run_shell("true", NULL)->status, 0);
	stop_agent();
}

static void test_stdin_not_read(void)
{
	Reply *reply;

	start_agent();
	reply = start_shell("exec <&-; sleep 0.2; echo done");
	for (int i = 0; i < 40; i++) {
		static char block[16384];

		send_frame(WIRE_DATA, reply->id, block, sizeof(block));
		while (take(20))
			; /* credit comes back although nobody reads */
		if (reply->is_closed)
			break;
	}
	CHECK_STR(finish(reply)->out, "done\n");
	stop_agent();
}

static Reply *put(const char *path, const char *name, const char *content, uint64_t size)
{
	WireWriter writer = begin_request(WIRE_SERVICE_PUT_FILE);
	Reply *reply;

	wire_put_text(&writer, WIRE_TAG_PATH, path);
	wire_put_u32(&writer, WIRE_TAG_MODE, 0640);
	wire_put_u64(&writer, WIRE_TAG_SIZE, size);
	if (name)
		wire_put_text(&writer, WIRE_TAG_NAME, name);
	reply = open_request(&writer);
	if (content[0])
		send_frame(WIRE_DATA, reply->id, content, (uint32_t)strlen(content));
	send_frame(WIRE_EOF, reply->id, NULL, 0);
	return finish(reply);
}

static Reply *get(const char *path)
{
	WireWriter writer = begin_request(WIRE_SERVICE_GET_FILE);

	wire_put_text(&writer, WIRE_TAG_PATH, path);
	return finish(open_request(&writer));
}

static void make_directory(void)
{
	(void)snprintf(directory, sizeof(directory), "/tmp/ember-test-guest.XXXXXX");
	CHECK(mkdtemp(directory));
}

static void remove_directory(void)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	CHECK_INT(system(command), 0);
}

static void test_files(void)
{
	Reply *reply;

	make_directory();
	start_agent();
	CHECK_INT(put(in_directory("a"), NULL, "content", 7)->size, 7);
	reply = get(in_directory("a"));
	CHECK_STR(reply->out, "content");
	CHECK_INT(reply->mode, 0640);
	CHECK_INT(reply->size, 7);
	CHECK_INT(put(directory, "b", "", 0)->error, 0);
	CHECK_INT(get(in_directory("b"))->out_size, 0);
	CHECK_INT(symlink("a", in_directory("link")), 0);
	CHECK_INT(put(in_directory("link"), NULL, "new", 3)->error, 0);
	CHECK_STR(get(in_directory("a"))->out, "new");
	CHECK(get("/proc/self/status")->out_size > 100);
	stop_agent();
	remove_directory();
}

static void test_file_failures(void)
{
	WireWriter writer;
	Reply *reply;

	make_directory();
	start_agent();
	CHECK_INT(put(directory, NULL, "x", 1)->error, WIRE_ERR_IS_DIRECTORY);
	CHECK_INT(put(directory, "..", "x", 1)->error, WIRE_ERR_IS_DIRECTORY);
	CHECK_INT(put(in_directory("no/where"), NULL, "x", 1)->error, WIRE_ERR_NOT_FOUND);
	CHECK_INT(put(in_directory("no/"), NULL, "x", 1)->error, WIRE_ERR_NOT_FOUND);
	CHECK_INT(put("relative", NULL, "x", 1)->error, WIRE_ERR_BAD_REQUEST);
	CHECK_INT(put("/dev/null", NULL, "x", 1)->error, WIRE_ERR_NOT_REGULAR);
	CHECK_INT(put(in_directory("c"), NULL, "xyz", 5)->error, WIRE_ERR_BAD_REQUEST);
	CHECK_INT(put(in_directory("c"), NULL, "xyz", 2)->error, WIRE_ERR_BAD_REQUEST);
	CHECK_INT(get(in_directory("c"))->error, WIRE_ERR_NOT_FOUND);
	CHECK_INT(get(directory)->error, WIRE_ERR_IS_DIRECTORY);
	CHECK_INT(get("/dev/zero")->error, WIRE_ERR_NOT_REGULAR);

	writer = begin_request(WIRE_SERVICE_PUT_FILE);
	wire_put_text(&writer, WIRE_TAG_PATH, in_directory("half"));
	wire_put_u32(&writer, WIRE_TAG_MODE, 0600);
	reply = open_request(&writer);
	send_frame(WIRE_DATA, reply->id, "half", 4);
	send_frame(WIRE_RESET, reply->id, NULL, 0);
	check_reset(reply);
	stop_agent();
	CHECK_INT(rmdir(directory), 0); /* nothing was left behind */
}

static void test_machine_is_left_alone(void)
{
	static const unsigned services[] = { WIRE_SERVICE_POWEROFF,
					     WIRE_SERVICE_REBOOT,
					     WIRE_SERVICE_RESIZE_FS,
					     WIRE_SERVICE_SET_IDENTITY,
					     WIRE_SERVICE_FREEZE,
					     WIRE_SERVICE_STATUS,
					     99 };

	start_agent();
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		WireWriter writer = begin_request(services[i]);

		CHECK_INT(finish(open_request(&writer))->error, WIRE_ERR_UNSUPPORTED);
	}
	stop_agent();
}

static void test_malformed_requests(void)
{
	static const uint8_t cut[] = { WIRE_TAG_ARG, 255, 255, 255, 255 };
	Reply *reply;

	start_agent();
	reply = calloc(1, sizeof(*reply));
	CHECK(reply);
	host.replies[host.reply_count++] = reply;
	reply->id = ++host.next_id;
	send_frame(WIRE_OPEN, reply->id, cut, sizeof(cut));
	CHECK_INT(finish(reply)->error, WIRE_ERR_BAD_REQUEST);
	CHECK_INT(run_shell("true", NULL)->status, 0);
	stop_agent();
}

static void test_garbage_ends_the_session(void)
{
	static const uint8_t garbage[40] = { 255, 255, 255, 255, 255, 255, 255 };
	Reply *reply;

	start_agent();
	reply = start_shell("sleep 1000");
	WAIT_FOR(reply->has_info);
	send_bytes(garbage, sizeof(garbage));
	WAIT_FOR(host.announces == 2);
	send_frame(WIRE_PING, 0, NULL, 0); /* before a HELLO nothing is heard */
	begin_session();
	CHECK_INT(host.pongs, 0);
	CHECK_STR(run_shell("echo again", NULL)->out, "again\n");
	for (int i = 0; i < 1000 && is_alive((pid_t)reply->pid); i++)
		(void)usleep(10000);
	CHECK(!is_alive((pid_t)reply->pid));
	stop_agent();
}

static void test_host_died_in_mid_frame(void)
{
	static const uint8_t zeros[WIRE_FLUSH_SIZE];
	WireFrame begun = { .type = WIRE_OPEN, .stream = 7, .length = 60000 };
	uint8_t header[WIRE_HEADER_SIZE];

	start_agent();
	wire_pack_header(header, &begun);
	send_bytes(header, sizeof(header));
	send_hello(WIRE_VERSION);
	CHECK(!take(200));
	send_bytes(zeros, sizeof(zeros));
	begin_session();
	CHECK_STR(run_shell("echo again", NULL)->out, "again\n");
	stop_agent();
}

static void test_other_version(void)
{
	start_agent();
	send_hello(WIRE_VERSION + 1);
	WAIT_FOR(host.accepted == host.session);
	CHECK_INT(host.accepted_version, WIRE_VERSION);
	send_frame(WIRE_PING, 0, NULL, 0);
	CHECK(!take(200));
	begin_session();
	CHECK_INT(run_shell("true", NULL)->status, 0);
	stop_agent();
}

static void test_noise(void)
{
	static uint8_t noise[4096];
	unsigned state = 12345;

	start_agent();
	for (int round = 0; round < 200; round++) {
		size_t size = 0;

		for (; size < 300; size++) {
			state = state * 1103515245 + 12345;
			noise[size] = (uint8_t)(state >> 16);
		}
		if (round % 2) {
			/* Well-formed outside, anything inside. */
			noise[4] = (uint8_t)(2 + noise[4] % 9);
			noise[5] = noise[6] = noise[7] = 0;
			wire_set_u32(noise, size - WIRE_HEADER_SIZE);
		}
		send_bytes(noise, size);
		if (round % 5 == 0)
			send_hello(WIRE_VERSION);
		while (take(0))
			;
	}
	for (size_t sent = 0; sent < WIRE_FLUSH_SIZE; sent += sizeof(noise)) {
		memset(noise, 0, sizeof(noise));
		send_bytes(noise, sizeof(noise));
	}
	begin_session();
	CHECK_STR(run_shell("echo alive", NULL)->out, "alive\n");
	stop_agent();
}

TEST_MAIN({ "ping", test_ping }, { "exec: output, input, status, signal", test_exec },
	  { "exec: environment, directory, no stdin", test_exec_surroundings },
	  { "exec: failures have kinds", test_exec_failures },
	  { "exec: children left behind are not waited for", test_background_child },
	  { "exec: output arrives to the last byte", test_output_is_whole },
	  { "a stream without credit does not hold up others", test_flow_control },
	  { "64 programs at once", test_parallel },
	  { "reset ends the process group", test_reset_kills_group },
	  { "streams that break the rules are reset", test_rules_of_streams },
	  { "input that nobody reads", test_stdin_not_read }, { "files", test_files },
	  { "files: failures have kinds and leave nothing", test_file_failures },
	  { "without a machine of its own it changes none", test_machine_is_left_alone },
	  { "malformed requests", test_malformed_requests },
	  { "garbage ends the session, not the agent", test_garbage_ends_the_session },
	  { "a host that died in mid-frame", test_host_died_in_mid_frame },
	  { "a host of another version", test_other_version }, { "noise", test_noise });
