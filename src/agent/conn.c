#include "agent/conn.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "util/cancel.h"
#include "util/mem.h"
#include "util/os.h"

#define CONNECT_PAUSE_MS 10

int conn_breach(const char *what, Error **err)
{
	error_set(err, ERR_FAILED, "the guest's agent broke the protocol: %s", what);
	return error_hint(err, "restart the VM; if it happens again, do not trust what runs in it");
}

int conn_poll(struct pollfd *events, size_t count, Deadline until, Error **err)
{
	int64_t left_ms = deadline_poll_ms(until);
	struct timespec wait = { .tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000 };
	sigset_t cancels, before;
	int ready, failure;

	/* The signals may come only while we wait, so that none is lost just before. */
	(void)sigemptyset(&cancels);
	(void)sigaddset(&cancels, SIGINT);
	(void)sigaddset(&cancels, SIGTERM);
	(void)sigaddset(&cancels, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &cancels, &before);
	ready = cancel_requested() ? 0 : ppoll(events, count, left_ms < 0 ? NULL : &wait, &before);
	failure = errno;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (cancel_check(err) < 0)
		return -1;
	if (ready < 0 && failure != EINTR)
		return error_set_errno(err, failure, "wait for the keeper");
	if (ready <= 0) {
		for (size_t i = 0; i < count; i++)
			events[i].revents = 0;
		if (deadline_passed(until))
			return error_set(err, ERR_TIMEOUT, "no answer in time");
	}
	return 0;
}

/* The keeper's queue of connections is full: it will take one in a moment. */
static int wait_to_connect(const char *path, Deadline until, Error **err)
{
	if (cancel_check(err) < 0)
		return -1;
	if (deadline_passed(until))
		return error_set(err, ERR_TIMEOUT, "the keeper on '%s' is too busy to connect to",
				 path);
	(void)poll(NULL, 0, deadline_poll_ms(deadline_sooner(until, CONNECT_PAUSE_MS)));
	return 0;
}

static int refuse_connection(const char *path, int failure, Error **err)
{
	if (failure != ENOENT && failure != ECONNREFUSED)
		return error_set_errno(err, failure, "connect to the keeper on '%s'", path);
	error_set(err, ERR_NOT_FOUND, "no keeper listens on '%s'", path);
	return error_hint(err, "see whether the VM still runs: ember vm list");
}

static int connect_to(const char *path, Deadline until, Error **err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return error_set_errno(err, errno, "make a socket");
	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, ERR_FAILED, "the socket path '%s' is longer than %zu bytes",
				 path, sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path));
	while (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return refuse_connection(path, errno, err);
		if (wait_to_connect(path, until, err) < 0)
			return -1;
	}
	return steal_fd(&fd);
}

static int send_bytes(Client *client, const uint8_t *bytes, size_t len, Deadline until, Error **err)
{
	while (len > 0) {
		ssize_t sent = send(client->fd, bytes, len, MSG_NOSIGNAL);

		if (sent >= 0) {
			bytes += sent;
			len -= (size_t)sent;
		} else if (errno == EAGAIN) {
			struct pollfd event = { .fd = client->fd, .events = POLLOUT };

			if (conn_poll(&event, 1, until, err) < 0)
				return -1;
		} else if (errno != EINTR) {
			error_set(err, ERR_FAILED, "the keeper has gone: %s", strerror(errno));
			return error_hint(err, "see whether the VM still runs: ember vm list");
		}
	}
	return 0;
}

int client_open(const char *keeper_socket, Deadline until, Client **out_client, Error **err)
{
	WireHello hello = { .version = WIRE_VERSION, .step = WIRE_STEP_REQUEST };
	uint8_t bytes[WIRE_HEADER_SIZE + WIRE_HELLO_SIZE];
	auto_client client = NULL;
	int fd = connect_to(keeper_socket, until, err);

	if (fd < 0)
		return -1;
	client = xmalloc(sizeof(*client)); /* large buffers, touched as far as needed */
	client->fd = fd;
	client->socket = xstrdup(keeper_socket);
	client->last_stream = 0;
	wire_parser_init(&client->in);
	os_random(&hello.session, sizeof(hello.session));
	if (send_bytes(client, bytes, wire_pack_hello(bytes, &hello), until, err) < 0)
		return -1;
	*out_client = steal(&client);
	return 0;
}

void client_close(Client *client)
{
	if (!client)
		return;
	close_fd(&client->fd);
	free(client->socket);
	free(client);
}

int conn_send(Client *client, const WireFrame *frame, Deadline until, Error **err)
{
	size_t size = wire_pack(client->out, sizeof(client->out), frame);

	return send_bytes(client, client->out, size, until, err);
}

uint8_t *conn_data_buffer(Client *client)
{
	return client->out + WIRE_HEADER_SIZE;
}

int conn_send_data(Client *client, uint32_t stream, size_t len, Error **err)
{
	WireFrame frame = { .type = WIRE_DATA, .stream = stream, .length = (uint32_t)len };

	wire_pack_header(client->out, &frame);
	return send_bytes(client, client->out, WIRE_HEADER_SIZE + len, DEADLINE_NEVER, err);
}

int conn_send_credit(Client *client, uint32_t stream, size_t bytes, Error **err)
{
	uint8_t payload[4];
	WireFrame frame = { .type = WIRE_WINDOW_ADD,
			    .stream = stream,
			    .length = sizeof(payload),
			    .payload = payload };

	wire_set_u32(payload, (uint32_t)bytes);
	return conn_send(client, &frame, DEADLINE_NEVER, err);
}

void conn_abort(Client *client, uint32_t stream)
{
	WireFrame frame = { .type = WIRE_RESET, .stream = stream };
	uint8_t header[WIRE_HEADER_SIZE];

	/* Where this does not fit, closing the connection says the same. */
	wire_pack_header(header, &frame);
	(void)send(client->fd, header, sizeof(header), MSG_NOSIGNAL);
}

void conn_begin(Client *client, WireWriter *writer, WireService service)
{
	wire_writer_begin(writer, client->out, sizeof(client->out), WIRE_OPEN,
			  ++client->last_stream);
	wire_put_u8(writer, WIRE_TAG_SERVICE, (uint8_t)service);
}

int conn_request(Client *client, WireWriter *writer, Deadline until, uint32_t *out_stream,
		 Error **err)
{
	size_t size = wire_writer_finish(writer);

	if (size == 0) {
		error_set(err, ERR_USAGE, "arguments and environment are larger than %d bytes",
			  WIRE_PAYLOAD_MAX);
		return error_hint(err, "put them into a file and copy it: ember cp");
	}
	*out_stream = client->last_stream;
	return send_bytes(client, client->out, size, until, err);
}

int conn_read(Client *client, Error **err)
{
	uint8_t *at;
	size_t room = wire_parser_space(&client->in, &at);
	ssize_t got = recv(client->fd, at, room, 0);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0) {
		error_set(err, ERR_FAILED, "the keeper ended the connection");
		return error_hint(err, "see whether the VM still runs: ember vm list");
	}
	wire_parser_fed(&client->in, (size_t)got);
	return 0;
}

static int check_hello(const WireFrame *frame, Error **err)
{
	WireHello hello;

	wire_unpack_hello(frame, &hello);
	if (hello.version == WIRE_VERSION)
		return 0;
	error_set(err, ERR_UNSUPPORTED,
		  "the VM's keeper is of another version: it speaks protocol %u, this ember %d",
		  hello.version, WIRE_VERSION);
	return error_hint(err, "stop the VM with the ember that started it; to see its name: "
			       "ember vm list");
}

int conn_next(Client *client, uint32_t stream, WireFrame *out_frame, Error **err)
{
	for (;;) {
		WireFrame frame;
		WireGot got = wire_parser_next(&client->in, &frame);

		if (got == WIRE_NEED_MORE)
			return 0;
		if (got == WIRE_MALFORMED)
			return conn_breach("a malformed frame", err);
		if (frame.type == WIRE_HELLO && check_hello(&frame, err) < 0)
			return -1;
		if (frame.stream != stream)
			continue; /* of a request that we aborted */
		if (frame.type == WIRE_RESET) {
			error_set(err, ERR_STATE, "the guest's agent dropped the request");
			return error_hint(err, "see whether the VM still runs: ember vm list");
		}
		*out_frame = frame;
		return 1;
	}
}

int conn_call(Client *client, WireWriter *writer, Deadline until, Outcome *out_outcome, Error **err)
{
	uint32_t stream;

	if (conn_request(client, writer, until, &stream, err) < 0)
		return -1;
	for (;;) {
		struct pollfd event = { .fd = client->fd, .events = POLLIN };
		WireFrame frame;
		int got = conn_next(client, stream, &frame, err);

		if (got > 0 && frame.type == WIRE_CLOSE) {
			auto_outcome Outcome outcome = { 0 };

			if (conn_outcome(&frame, &outcome, err) < 0 ||
			    conn_check(&outcome, err) < 0)
				return -1;
			*out_outcome = outcome;
			outcome = (Outcome){ 0 };
			return 0;
		}
		if (got < 0)
			return -1;
		if (got == 0 && (conn_poll(&event, 1, until, err) < 0 ||
				 (event.revents && conn_read(client, err) < 0))) {
			conn_abort(client, stream);
			return -1;
		}
	}
}
