/*
 * Files to and from the guest.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/conn.h"
#include "util/mem.h"

#define PUT_CHUNK 65536
/* A larger window than the initial one: more is under way while we write. */
#define GET_WINDOW ((size_t)512 * 1024)

typedef struct Put {
	Client *client;
	const PutRequest *request;
	uint32_t stream;
	uint64_t credit;
	uint64_t sent;
	bool at_end;
	bool is_closed;
	Outcome outcome;
} Put;

static int open_put(Put *put, Error **err)
{
	const PutRequest *request = put->request;
	WireWriter writer;

	conn_begin(put->client, &writer, WIRE_SERVICE_PUT_FILE);
	wire_put_text(&writer, WIRE_TAG_PATH, request->path);
	wire_put_u32(&writer, WIRE_TAG_MODE, request->mode);
	if (request->name)
		wire_put_text(&writer, WIRE_TAG_NAME, request->name);
	if (request->has_size)
		wire_put_u64(&writer, WIRE_TAG_SIZE, request->size_bytes);
	return conn_request(put->client, &writer, DEADLINE_NEVER, &put->stream, err);
}

static int send_some(Put *put, Error **err)
{
	size_t room = put->credit < PUT_CHUNK ? (size_t)put->credit : PUT_CHUNK;
	ssize_t got = read(put->request->fd, conn_data_buffer(put->client), room);
	WireFrame end = { .type = WIRE_EOF, .stream = put->stream };
	const PutRequest *request = put->request;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got < 0)
		return error_set_errno(err, errno, "read the file to copy");
	if (got == 0) {
		put->at_end = true;
		return conn_send(put->client, &end, DEADLINE_NEVER, err);
	}
	put->credit -= (uint64_t)got;
	put->sent += (uint64_t)got;
	if (request->progress)
		request->progress(request->arg, put->sent,
				  request->has_size ? request->size_bytes : 0);
	return conn_send_data(put->client, put->stream, (size_t)got, err);
}

static int take_put_frames(Put *put, Error **err)
{
	WireFrame frame;
	int got = 0;

	while (!put->is_closed && (got = conn_next(put->client, put->stream, &frame, err)) > 0) {
		if (frame.type == WIRE_WINDOW_ADD) {
			put->credit += wire_get_u32(frame.payload);
			if (put->credit > (uint64_t)WIRE_WINDOW_MAX)
				return conn_breach("too much credit", err);
		} else if (frame.type == WIRE_CLOSE) {
			if (conn_outcome(&frame, &put->outcome, err) < 0)
				return -1;
			put->is_closed = true;
		}
	}
	return got < 0 ? -1 : 0;
}

static int run_put(Put *put, Error **err)
{
	while (!put->is_closed) {
		bool sends = !put->at_end && put->credit > 0;
		struct pollfd events[] = {
			{ .fd = put->client->fd, .events = POLLIN },
			{ .fd = sends ? put->request->fd : -1, .events = POLLIN },
		};

		if (conn_poll(events, ARRAY_SIZE(events), DEADLINE_NEVER, err) < 0)
			return -1;
		if (events[0].revents &&
		    (conn_read(put->client, err) < 0 || take_put_frames(put, err) < 0))
			return -1;
		if (events[1].revents && !put->is_closed && send_some(put, err) < 0)
			return -1;
	}
	return 0;
}

int client_put_file(Client *client, const PutRequest *request, uint64_t *out_bytes, Error **err)
{
	Put put = { .client = client, .request = request, .credit = WIRE_WINDOW };
	int result = open_put(&put, err);

	if (result == 0) {
		result = run_put(&put, err);
		if (result < 0)
			conn_abort(client, put.stream);
	}
	if (result == 0)
		result = conn_check(&put.outcome, err);
	if (result == 0 && (!put.at_end || !put.outcome.has_size || put.outcome.size != put.sent))
		result = conn_breach("a wrong count of bytes", err);
	outcome_release(&put.outcome);
	if (result < 0)
		return error_wrap(err, "write '%s' in the guest", request->path);
	*out_bytes = put.sent;
	return 0;
}

typedef struct Get {
	Client *client;
	const GetRequest *request;
	uint32_t stream;
	size_t chunk;	   /* what a write to the descriptor may have without blocking */
	size_t credit;	   /* what the guest may send */
	size_t uncredited; /* written, and not told yet */
	uint64_t received;
	bool has_file;
	bool is_closed;
	GuestFile file;
} Get;

static int write_data(Get *get, const uint8_t *bytes, size_t len, Error **err)
{
	while (len > 0) {
		struct pollfd event = { .fd = get->request->fd, .events = POLLOUT };
		ssize_t written;

		if (get->chunk == PIPE_BUF && conn_poll(&event, 1, DEADLINE_NEVER, err) < 0)
			return -1;
		written = write(get->request->fd, bytes, len < get->chunk ? len : get->chunk);
		if (written < 0 && errno != EAGAIN && errno != EINTR)
			return error_set_errno(err, errno, "write the copy");
		if (written > 0) {
			bytes += written;
			len -= (size_t)written;
		}
	}
	return 0;
}

static int on_file_info(Get *get, const WireFrame *frame, Error **err)
{
	const GetRequest *request = get->request;
	auto_outcome Outcome info = { 0 };

	if (conn_outcome(frame, &info, err) < 0)
		return -1;
	if (get->has_file || get->received > 0 || !info.has_size)
		return conn_breach("a second or incomplete description of the file", err);
	get->has_file = true;
	get->file = (GuestFile){
		.size_bytes = info.size,
		.mode = info.mode & 07777,
		.uid = info.uid,
		.gid = info.gid,
		.mtime = info.mtime,
	};
	return request->begin ? request->begin(request->arg, &get->file, err) : 0;
}

static int on_file_data(Get *get, const WireFrame *frame, Error **err)
{
	const GetRequest *request = get->request;

	/* Size 0 is also that of files that are made as they are read, in /proc for one. */
	if (!get->has_file || frame->length > get->credit ||
	    (get->file.size_bytes && frame->length > get->file.size_bytes - get->received))
		return conn_breach("more content than was asked for", err);
	get->credit -= frame->length;
	get->received += frame->length;
	get->uncredited += frame->length;
	if (write_data(get, frame->payload, frame->length, err) < 0)
		return -1;
	if (request->progress)
		request->progress(request->arg, get->received, get->file.size_bytes);
	return 0;
}

static int give_get_credit(Get *get, Error **err)
{
	size_t bytes = get->uncredited;

	if (get->is_closed || bytes < GET_WINDOW / 4)
		return 0;
	get->uncredited = 0;
	get->credit += bytes;
	return conn_send_credit(get->client, get->stream, bytes, err);
}

static int on_file_close(Get *get, const WireFrame *frame, Error **err)
{
	auto_outcome Outcome outcome = { 0 };

	if (conn_outcome(frame, &outcome, err) < 0 || conn_check(&outcome, err) < 0)
		return -1;
	if (!get->has_file || !outcome.has_size || outcome.size != get->received)
		return conn_breach("a wrong count of bytes", err);
	get->file.size_bytes = get->received;
	get->is_closed = true;
	return 0;
}

static int run_get(Get *get, Error **err)
{
	while (!get->is_closed) {
		struct pollfd event = { .fd = get->client->fd, .events = POLLIN };
		WireFrame frame;
		int got = conn_next(get->client, get->stream, &frame, err);

		if (got < 0)
			return -1;
		if (got == 0) {
			if (give_get_credit(get, err) < 0 ||
			    conn_poll(&event, 1, DEADLINE_NEVER, err) < 0 ||
			    (event.revents && conn_read(get->client, err) < 0))
				return -1;
		} else if ((frame.type == WIRE_INFO && on_file_info(get, &frame, err) < 0) ||
			   (frame.type == WIRE_DATA && on_file_data(get, &frame, err) < 0) ||
			   (frame.type == WIRE_CLOSE && on_file_close(get, &frame, err) < 0)) {
			return -1;
		}
	}
	return 0;
}

int client_get_file(Client *client, const GetRequest *request, GuestFile *out_file, Error **err)
{
	Get get = { .client = client, .request = request, .credit = GET_WINDOW };
	WireWriter writer;
	struct stat st;

	get.chunk = fstat(request->fd, &st) == 0 && S_ISREG(st.st_mode) ? WIRE_PAYLOAD_MAX
									: PIPE_BUF;
	conn_begin(client, &writer, WIRE_SERVICE_GET_FILE);
	wire_put_text(&writer, WIRE_TAG_PATH, request->path);
	if (conn_request(client, &writer, DEADLINE_NEVER, &get.stream, err) < 0)
		return -1;
	if (conn_send_credit(client, get.stream, GET_WINDOW - WIRE_WINDOW, err) < 0 ||
	    run_get(&get, err) < 0) {
		conn_abort(client, get.stream);
		return error_wrap(err, "read '%s' in the guest", request->path);
	}
	*out_file = get.file;
	return 0;
}
