/*
 * Inside the client (client.h): the connection and one request on it.
 */
#pragma once

#include <poll.h>

#include "agent/client.h"

#define CLIENT_MESSAGE_MAX 512

struct Client {
	int fd; /* non-blocking */
	char *socket;
	uint32_t last_stream;
	WireParser in;
	uint8_t out[WIRE_FRAME_MAX]; /* where frames are built */
};

/* What a CLOSE (or INFO) said; absent values are zero. Texts are owned, short and printable; sizes, durations and start times
 * are at most INT64_MAX. `mtime` may be any, as it is before 1970 in some files, and so may `session`. */
typedef struct Outcome {
	bool has_error, has_status, has_signal, has_size;
	uint8_t error; /* WireError */
	uint32_t status, signal, flags, pid, mode, uid, gid;
	uint64_t size, started, session, uptime_ms, mtime, held_us;
	char *message, *state, *version;
} Outcome;

void outcome_release(Outcome *outcome);
#define auto_outcome CLEANUP(outcome_release)

/* poll(2) that a signal of util/cancel.h always ends: 0, or -1 at the deadline or when cancelled. */
int conn_poll(struct pollfd *events, size_t count, Deadline until, Error **err);

/* Begin a request: add its values to *writer, then conn_request(). */
void conn_begin(Client *client, WireWriter *writer, WireService service);
/* Send it. *out_stream is its id. ERR_USAGE when it has become too large. */
int conn_request(Client *client, WireWriter *writer, Deadline until, uint32_t *out_stream,
		 Error **err);
/* Send a frame. */
int conn_send(Client *client, const WireFrame *frame, Deadline until, Error **err);
/* Build DATA in place: at most WIRE_PAYLOAD_MAX bytes go where it points... */
uint8_t *conn_data_buffer(Client *client);
/* ...and are sent by this. */
int conn_send_data(Client *client, uint32_t stream, size_t len, Error **err);
int conn_send_credit(Client *client, uint32_t stream, size_t bytes, Error **err);
/* Abort a request, as well as that is possible now: for those who are failing anyway. */
void conn_abort(Client *client, uint32_t stream);

/* The next frame of that stream, if one is here: 1, 0 none, -1. RESET is an error. */
int conn_next(Client *client, uint32_t stream, WireFrame *out_frame, Error **err);
/* The socket is readable: take what is there. */
int conn_read(Client *client, Error **err);

/* Read CLOSE or INFO. */
int conn_outcome(const WireFrame *frame, Outcome *out_outcome, Error **err);
/* Fail if the outcome tells of an error. */
int conn_check(const Outcome *outcome, Error **err);
/* Send the request and wait for its successful CLOSE. */
int conn_call(Client *client, WireWriter *writer, Deadline until, Outcome *out_outcome,
	      Error **err);
int conn_breach(const char *what, Error **err); /* the other side broke the protocol */
