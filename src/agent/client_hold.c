/*
 * What lasts as long as its request is open: the guest's filesystems frozen, its vCPUs stopped.
 */
#include "agent/conn.h"

/* Wait for INFO or CLOSE. */
static int wait_frame(Hold *hold, Deadline until, WireFrame *out_frame, Error **err)
{
	for (;;) {
		struct pollfd event = { .fd = hold->client->fd, .events = POLLIN };
		int got = conn_next(hold->client, hold->stream, out_frame, err);

		if (got > 0 && (out_frame->type == WIRE_INFO || out_frame->type == WIRE_CLOSE))
			return 0;
		if (got < 0)
			return -1;
		if (got == 0 && (conn_poll(&event, 1, until, err) < 0 ||
				 (event.revents && conn_read(hold->client, err) < 0)))
			return -1;
	}
}

/* Until it stands still; a CLOSE that comes instead is a refusal. */
static int begin(Client *client, WireWriter *writer, Deadline until, Hold *out_hold, Error **err)
{
	Hold hold = { .client = client };
	auto_outcome Outcome outcome = { 0 };
	WireFrame frame;

	if (conn_request(client, writer, until, &hold.stream, err) < 0)
		return -1;
	if (wait_frame(&hold, until, &frame, err) < 0) {
		conn_abort(client, hold.stream);
		return -1;
	}
	if (frame.type == WIRE_CLOSE) {
		if (conn_outcome(&frame, &outcome, err) < 0 || conn_check(&outcome, err) < 0)
			return -1;
		return conn_breach("an end before the beginning", err);
	}
	*out_hold = hold;
	return 0;
}

int client_freeze(Client *client, uint32_t hold_ms, Deadline until, Hold *out_hold, Error **err)
{
	WireWriter writer;

	conn_begin(client, &writer, WIRE_SERVICE_FREEZE);
	wire_put_u32(&writer, WIRE_TAG_TIMEOUT_MS, hold_ms);
	if (begin(client, &writer, until, out_hold, err) < 0)
		return error_wrap(err, "freeze the guest's filesystems");
	return 0;
}

int client_hold(Client *client, uint32_t hold_ms, Deadline until, Hold *out_hold, Error **err)
{
	WireWriter writer;

	conn_begin(client, &writer, WIRE_SERVICE_HOLD);
	wire_put_u32(&writer, WIRE_TAG_TIMEOUT_MS, hold_ms);
	if (begin(client, &writer, until, out_hold, err) < 0)
		return error_wrap(err, "stop the vm for a moment");
	return 0;
}

int client_hold_end(Hold *hold, Deadline until, HoldEnd *out_end, Error **err)
{
	WireFrame end = { .type = WIRE_EOF, .stream = hold->stream };
	auto_outcome Outcome outcome = { 0 };
	WireFrame frame;

	if (conn_send(hold->client, &end, until, err) < 0 ||
	    wait_frame(hold, until, &frame, err) < 0) {
		conn_abort(hold->client, hold->stream);
		return error_wrap(err, "let the vm go on");
	}
	if (conn_outcome(&frame, &outcome, err) < 0 || conn_check(&outcome, err) < 0)
		return error_wrap(err, "let the vm go on");
	*out_end = (HoldEnd){ .held_us = outcome.held_us,
			      .is_expired = (outcome.flags & WIRE_HOLD_EXPIRED) != 0 };
	return 0;
}
