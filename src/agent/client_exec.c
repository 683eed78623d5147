/*
 * exec: pump three descriptors and one stream until the command has ended.
 *
 * Nothing here blocks for long but poll: stdout and stderr get no more at a time than a pipe that
 * polls writable takes (PIPE_BUF). What the guest may send before we have written it is bounded by
 * the credit that we give: WIRE_WINDOW, both channels together.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/conn.h"
#include "util/mem.h"

#define STDIN_CHUNK	32768
#define SILENCE_MS	1000
#define CREDIT_AT_LEAST (WIRE_WINDOW / 4) /* written bytes are credited in pieces of this */

/* Output on its way to one of our descriptors. */
typedef struct Sink {
	int fd;
	size_t chunk;	/* what a write may have without blocking */
	bool is_broken; /* nobody reads it: what comes is dropped */
	size_t begin, end;
	uint8_t bytes[WIRE_WINDOW];
} Sink;

typedef struct Pump {
	Client *client;
	const ExecRequest *request;
	Deadline silent_at;
	uint32_t stream;
	int stdin_fd;	      /* -1: at its end */
	uint64_t send_credit; /* what we may send */
	size_t recv_credit;   /* what the guest may send */
	size_t uncredited;    /* written, and not told yet */
	bool is_closed;
	bool is_unwanted; /* the reader of stdout has gone */
	Outcome outcome;
	Sink out, err;
} Pump;

void exec_result_release(ExecResult *result)
{
	free(result->message);
	*result = (ExecResult){ 0 };
}

int exec_result_status(const ExecResult *result)
{
	switch (result->end) {
	case EXEC_EXITED:
		return result->status;
	case EXEC_SIGNALED:
		return 128 + result->status;
	case EXEC_NOT_STARTED:
		break;
	}
	return result->error == WIRE_ERR_NOT_FOUND ? 127 : 126;
}

static void sink_init(Sink *sink, int fd)
{
	struct stat st;

	sink->fd = fd;
	sink->is_broken = fd < 0;
	sink->chunk = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? sizeof(sink->bytes) : PIPE_BUF;
	sink->begin = sink->end = 0;
}

static size_t sink_pending(const Sink *sink)
{
	return sink->end - sink->begin;
}

/* The reader has gone, or the disk is full: nothing of it will be seen. */
static void sink_break(Pump *pump, Sink *sink)
{
	pump->uncredited += sink_pending(sink);
	sink->begin = sink->end = 0;
	sink->is_broken = true;
	pump->is_unwanted |= sink == &pump->out;
}

/* There is room: the guest's credit was checked before. */
static void sink_put(Pump *pump, Sink *sink, const WireFrame *frame)
{
	if (sink->is_broken) {
		pump->uncredited += frame->length;
		return;
	}
	if (sink->begin > 0) {
		memmove(sink->bytes, sink->bytes + sink->begin, sink_pending(sink));
		sink->end -= sink->begin;
		sink->begin = 0;
	}
	memcpy(sink->bytes + sink->end, frame->payload, frame->length);
	sink->end += frame->length;
}

static int sink_write(Pump *pump, Sink *sink, Error **err)
{
	size_t len = sink_pending(sink) < sink->chunk ? sink_pending(sink) : sink->chunk;
	ssize_t written = write(sink->fd, sink->bytes + sink->begin, len);

	if (written > 0) {
		sink->begin += (size_t)written;
		pump->uncredited += (size_t)written;
	} else if (written < 0 && errno == EPIPE) {
		sink_break(pump, sink);
	} else if (written < 0 && errno != EAGAIN && errno != EINTR) {
		return error_set_errno(err, errno, "write the command's output");
	}
	return 0;
}

static int on_data(Pump *pump, const WireFrame *frame, Error **err)
{
	if (frame->length > pump->recv_credit)
		return conn_breach("more output than was asked for", err);
	pump->recv_credit -= frame->length;
	sink_put(pump, frame->channel == WIRE_CHANNEL_STDERR ? &pump->err : &pump->out, frame);
	return 0;
}

static int take_frames(Pump *pump, Error **err)
{
	WireFrame frame;
	int got;

	while (!pump->is_closed &&
	       (got = conn_next(pump->client, pump->stream, &frame, err)) != 0) {
		if (got < 0)
			return -1;
		if (frame.type == WIRE_DATA && on_data(pump, &frame, err) < 0)
			return -1;
		if (frame.type == WIRE_WINDOW_ADD) {
			pump->send_credit += wire_get_u32(frame.payload);
			if (pump->send_credit > (uint64_t)WIRE_WINDOW_MAX)
				return conn_breach("too much credit", err);
		}
		if (frame.type == WIRE_CLOSE) {
			if (conn_outcome(&frame, &pump->outcome, err) < 0)
				return -1;
			pump->is_closed = true;
		}
	}
	return 0;
}

static int give_credit(Pump *pump, Error **err)
{
	size_t bytes = pump->uncredited;

	if (pump->is_closed || bytes < CREDIT_AT_LEAST)
		return 0;
	pump->uncredited = 0;
	pump->recv_credit += bytes;
	return conn_send_credit(pump->client, pump->stream, bytes, err);
}

static int send_stdin(Pump *pump, Error **err)
{
	size_t room = pump->send_credit < STDIN_CHUNK ? (size_t)pump->send_credit : STDIN_CHUNK;
	ssize_t got = read(pump->stdin_fd, conn_data_buffer(pump->client), room);
	WireFrame end = { .type = WIRE_EOF, .stream = pump->stream };

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got > 0) {
		pump->send_credit -= (uint64_t)got;
		return conn_send_data(pump->client, pump->stream, (size_t)got, err);
	}
	/* EIO too: the terminal was taken from us. The command has no more input. */
	pump->stdin_fd = -1;
	return conn_send(pump->client, &end, DEADLINE_NEVER, err);
}

/* Somebody may know why nothing comes. */
static int poll_or_tell(Pump *pump, struct pollfd *events, size_t count, Error **err)
{
	const ExecRequest *request = pump->request;
	auto_error why = NULL;

	if (!request->silent)
		return conn_poll(events, count, DEADLINE_NEVER, err);
	if (conn_poll(events, count, pump->silent_at, &why) == 0)
		return 0;
	if (error_code(why) != ERR_TIMEOUT) {
		error_move(err, &why);
		return -1;
	}
	request->silent(request->silent_arg);
	pump->silent_at = deadline_in_ms(SILENCE_MS);
	return 0;
}

static int wait_events(Pump *pump, struct pollfd events[4], Error **err)
{
	bool wants_input = !pump->is_closed && pump->stdin_fd >= 0 && pump->send_credit > 0;

	events[0] =
		(struct pollfd){ .fd = pump->is_closed ? -1 : pump->client->fd, .events = POLLIN };
	events[1] = (struct pollfd){ .fd = wants_input ? pump->stdin_fd : -1, .events = POLLIN };
	/* Without output stdout is watched too, for `| head` that has seen enough. */
	events[2] = (struct pollfd){ .fd = pump->out.is_broken ? -1 : pump->out.fd,
				     .events = sink_pending(&pump->out) ? POLLOUT : 0 };
	events[3] = (struct pollfd){ .fd = sink_pending(&pump->err) ? pump->err.fd : -1,
				     .events = POLLOUT };
	return poll_or_tell(pump, events, 4, err);
}

static int run_once(Pump *pump, Error **err)
{
	struct pollfd events[4];

	if (wait_events(pump, events, err) < 0)
		return -1;
	if (sink_pending(&pump->out) > 0 && events[2].revents &&
	    sink_write(pump, &pump->out, err) < 0)
		return -1;
	if (sink_pending(&pump->out) == 0 && (events[2].revents & (POLLERR | POLLHUP)))
		sink_break(pump, &pump->out);
	if (events[3].revents && sink_write(pump, &pump->err, err) < 0)
		return -1;
	if (give_credit(pump, err) < 0)
		return -1;
	if (events[0].revents)
		pump->silent_at = deadline_in_ms(SILENCE_MS);
	if (events[0].revents && (conn_read(pump->client, err) < 0 || take_frames(pump, err) < 0))
		return -1;
	if (events[1].revents && !pump->is_closed && send_stdin(pump, err) < 0)
		return -1;
	return 0;
}

static int open_request(Pump *pump, const ExecRequest *request, Error **err)
{
	WireWriter writer;

	conn_begin(pump->client, &writer, WIRE_SERVICE_EXEC);
	for (size_t i = 0; i < request->argv->count; i++)
		wire_put_text(&writer, WIRE_TAG_ARG, request->argv->items[i]);
	for (size_t i = 0; request->env && i < request->env->count; i++)
		wire_put_text(&writer, WIRE_TAG_ENV, request->env->items[i]);
	if (request->cwd)
		wire_put_text(&writer, WIRE_TAG_CWD, request->cwd);
	if (request->user)
		wire_put_text(&writer, WIRE_TAG_USER, request->user);
	if (request->stdin_fd < 0)
		wire_put_u32(&writer, WIRE_TAG_FLAGS, WIRE_EXEC_NO_STDIN);
	return conn_request(pump->client, &writer, DEADLINE_NEVER, &pump->stream, err);
}

/* Until the command has ended and its output is written, or nobody wants its output. */
static int run(Pump *pump, Error **err)
{
	while (!pump->is_unwanted &&
	       (!pump->is_closed || sink_pending(&pump->out) || sink_pending(&pump->err))) {
		if (run_once(pump, err) < 0) {
			conn_abort(pump->client, pump->stream);
			return -1;
		}
	}
	if (!pump->is_closed)
		conn_abort(pump->client, pump->stream);
	return 0;
}

/* Kinds of errors that are about the command, not about us. */
static bool is_about_command(uint8_t error)
{
	return error == WIRE_ERR_NOT_FOUND || error == WIRE_ERR_NOT_EXECUTABLE ||
	       error == WIRE_ERR_DENIED || error == WIRE_ERR_BAD_USER ||
	       error == WIRE_ERR_BAD_CWD || error == WIRE_ERR_IS_DIRECTORY;
}

static int read_result(Pump *pump, ExecResult *out_result, Error **err)
{
	Outcome *outcome = &pump->outcome;

	if (pump->is_unwanted) {
		*out_result = (ExecResult){ .end = EXEC_SIGNALED, .status = SIGPIPE };
	} else if (outcome->has_error && is_about_command(outcome->error)) {
		*out_result = (ExecResult){ .end = EXEC_NOT_STARTED, .error = outcome->error };
		out_result->message = steal(&outcome->message);
		if (!out_result->message)
			out_result->message = xstrdup(wire_error_name(outcome->error));
	} else if (conn_check(outcome, err) < 0) {
		return -1;
	} else if (outcome->has_status && outcome->status <= 255) {
		*out_result = (ExecResult){ .end = EXEC_EXITED, .status = (int)outcome->status };
	} else if (outcome->has_signal && outcome->signal > 0 && outcome->signal < 127) {
		*out_result = (ExecResult){ .end = EXEC_SIGNALED, .status = (int)outcome->signal };
	} else {
		return conn_breach("an end without a status", err);
	}
	return 0;
}

int client_exec(Client *client, const ExecRequest *request, ExecResult *out_result, Error **err)
{
	auto_free Pump *pump = xmalloc(sizeof(*pump)); /* large; filled below */
	int result;

	pump->client = client;
	pump->request = request;
	pump->silent_at = deadline_in_ms(SILENCE_MS);
	pump->stdin_fd = request->stdin_fd;
	pump->send_credit = pump->recv_credit = WIRE_WINDOW;
	pump->uncredited = 0;
	pump->is_closed = pump->is_unwanted = false;
	pump->outcome = (Outcome){ 0 };
	sink_init(&pump->out, request->stdout_fd);
	sink_init(&pump->err, request->stderr_fd);
	result = open_request(pump, request, err);
	if (result == 0)
		result = run(pump, err);
	if (result == 0)
		result = read_result(pump, out_result, err);
	outcome_release(&pump->outcome);
	return result < 0 ? error_wrap(err, "run '%s' in the guest", request->argv->items[0]) : 0;
}
