/*
 * A stream: one request under way, and the service that answers it.
 *
 * The agent owns the streams; a service derives from Stream (its first member) and gives the
 * functions that move it along. The loop asks every stream which fds it waits for (`poll`), lets it
 * make what progress it can (`step`), hands it what the host sends (`data`, `eof`), and drops it in
 * the end (`drop`): when it called stream_close() or stream_fail(), or when the host aborted it or
 * went away.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/wire.h"
#include "output.h"

typedef struct Agent Agent;
typedef struct Request Request;
typedef struct Stream Stream;

#define STREAM_FDS_MAX 3

/* All members but number, size and open may be NULL. */
typedef struct Service {
	WireService number;
	size_t size; /* of the derived struct, which comes zeroed */
	bool writes; /* to the guest's disk: waits while that is frozen */

	/* Start. May already close or fail the stream. */
	void (*open)(Stream *stream, Request *request);

	/*
	 * Fill in what to wait for and return how many. Sets *out_ready when step() could make
	 * progress without waiting.
	 */
	unsigned (*poll)(Stream *stream, struct pollfd fds[STREAM_FDS_MAX], bool *out_ready);

	/* `fds` are those of poll(), with what happened to them. Called in every round. */
	void (*step)(Stream *stream, const struct pollfd *fds, unsigned count);

	/* Content from the host, within credit. Without it the service takes none. */
	void (*data)(Stream *stream, const uint8_t *bytes, size_t size);
	void (*eof)(Stream *stream);

	/* Release everything but the Stream itself; undo or kill what is unfinished. */
	void (*drop)(Stream *stream);
} Service;

struct Stream {
	const Service *service;
	Agent *agent;
	Output *out;
	Stream *next;
	uint32_t id;
	uint32_t send_credit;	 /* bytes that the host will still take */
	uint32_t receive_credit; /* bytes that the host may still send */
	uint32_t consumed;	 /* bytes taken and not yet granted again */
	bool host_eof;
	bool is_over;
	/* What poll() gave, for step(). */
	struct pollfd *fds;
	unsigned fd_count;
};

/* How many bytes of DATA could be sent now: credit and room in the queue. */
size_t stream_send_room(const Stream *stream);

/* Read up to `max` bytes from `fd` into one DATA frame. Needs room. Returns what read(2) did. */
ssize_t stream_send_from(Stream *stream, uint8_t channel, int fd, size_t max);

/*
 * The service has done with `size` bytes of received data: grants credit again, in good portions,
 * when there is room to say so. (The loop tries again in every round.)
 */
void stream_consumed(Stream *stream, size_t size);

/* Grant `size` bytes on top, once, for services that need no buffer. */
void stream_extend_window(Stream *stream, uint32_t size);

/* Send a finished INFO or CLOSE of at most STREAM_ANSWER_MAX bytes. CLOSE ends the stream. */
#define STREAM_ANSWER_MAX 1024
void stream_answer(Stream *stream, WireWriter *writer);

/* CLOSE with nothing to tell. */
void stream_close(Stream *stream);

/* CLOSE with an error: its kind and a sentence (cut to fit). */
void stream_fail(Stream *stream, WireError kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The kind that fits an errno of a file operation. */
WireError error_kind(int errnum);

/* What happened to `fd` in step()'s fds; 0 when it was not waited for. */
short fd_events(const struct pollfd *fds, unsigned count, int fd);
