/* freeze: the filesystems stand still for as long as the request is open. */
#include "freeze.h"

#include <errno.h>
#include <string.h>

#include "agent.h"
#include "base.h"
#include "request.h"
#include "services.h"

#define HOLD_MS_DEFAULT 5000
#define HOLD_MS_MAX	30000

typedef struct Freeze {
	Stream stream;
	int report; /* of the freezer */
	int hold;   /* closing it thaws */
	bool is_cut;
} Freeze;

static void open_freeze(Stream *stream, Request *request)
{
	Freeze *freeze = (Freeze *)stream;
	uint32_t hold_ms = request->timeout_ms ? request->timeout_ms : HOLD_MS_DEFAULT;

	freeze->report = freeze->hold = -1;
	if (!stream->agent->is_machine)
		stream_fail(stream, WIRE_ERR_UNSUPPORTED, "this agent does not own its machine");
	else if (stream->agent->freeze)
		stream_fail(stream, WIRE_ERR_BUSY, "the guest's filesystems are frozen already");
	else if (freezer_start(hold_ms < HOLD_MS_MAX ? hold_ms : HOLD_MS_MAX, &freeze->report,
			       &freeze->hold) < 0)
		stream_fail(stream, error_kind(errno), "the guest cannot start a process: %s",
			    strerror(errno));
	else
		stream->agent->freeze = stream;
}

static unsigned poll_freeze(Stream *stream, struct pollfd fds[STREAM_FDS_MAX], bool *out_ready)
{
	const Freeze *freeze = (const Freeze *)stream;

	(void)out_ready;
	fds[0] = (struct pollfd){ .fd = freeze->report, .events = POLLIN };
	return freeze->report >= 0;
}

static void answer_thawed(Stream *stream, const FreezeReport *report)
{
	bool is_expired = report->is_expired || ((const Freeze *)stream)->is_cut;
	uint8_t buffer[STREAM_ANSWER_MAX];
	WireWriter writer;

	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_CLOSE, stream->id);
	wire_put_u32(&writer, WIRE_TAG_FLAGS, is_expired ? WIRE_HOLD_EXPIRED : 0);
	wire_put_u64(&writer, WIRE_TAG_HELD_US, report->frozen_us);
	stream_answer(stream, &writer);
}

static void answer_frozen(Stream *stream)
{
	uint8_t buffer[STREAM_ANSWER_MAX];
	WireWriter writer;

	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_INFO, stream->id);
	stream_answer(stream, &writer);
}

static void step_freeze(Stream *stream, const struct pollfd *fds, unsigned count)
{
	const Freeze *freeze = (const Freeze *)stream;
	FreezeReport report = { 0 };
	ssize_t got;

	if (!fd_events(fds, count, freeze->report))
		return;
	got = read(freeze->report, &report, sizeof(report));
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got != (ssize_t)sizeof(report))
		stream_fail(stream, WIRE_ERR_FAILED,
			    "what froze the guest's filesystems was killed");
	else if (report.word == FREEZE_FAILED)
		stream_fail(stream, error_kind(report.errnum),
			    "cannot freeze '%s' in the guest: %s", report.path,
			    strerror(report.errnum));
	else if (report.word == FREEZE_THAWED)
		answer_thawed(stream, &report);
	else
		answer_frozen(stream);
}

static void end_freeze(Stream *stream)
{
	close_fd(&((Freeze *)stream)->hold);
}

void freeze_cut(Stream *stream)
{
	Freeze *freeze = (Freeze *)stream;

	freeze->is_cut |= freeze->hold >= 0;
	end_freeze(stream);
}

/* Unless it has answered, the freezer goes on thawing by itself. */
static void drop_freeze(Stream *stream)
{
	end_freeze(stream);
	close_fd(&((Freeze *)stream)->report);
	if (stream->agent->freeze == stream)
		stream->agent->freeze = NULL;
}

const Service freeze_service = {
	.number = WIRE_SERVICE_FREEZE,
	.size = sizeof(Freeze),
	.open = open_freeze,
	.poll = poll_freeze,
	.step = step_freeze,
	.eof = end_freeze,
	.drop = drop_freeze,
};
