/* resize-fs: another process grows the filesystem, and goes on when nobody waits for it any more. */
#include <errno.h>
#include <string.h>

#include "agent.h"
#include "base.h"
#include "request.h"
#include "resize.h"
#include "services.h"

typedef struct Grow {
	Stream stream;
	int report;
} Grow;

static void open_grow(Stream *stream, Request *request)
{
	Grow *grow = (Grow *)stream;

	grow->report = -1;
	if (!stream->agent->is_machine)
		stream_fail(stream, WIRE_ERR_UNSUPPORTED, "this agent does not own its machine");
	else if (resize_start(request->path ? request->path : "/", &grow->report) < 0)
		stream_fail(stream, error_kind(errno), "the guest cannot start a process: %s",
			    strerror(errno));
}

static unsigned poll_grow(Stream *stream, struct pollfd fds[STREAM_FDS_MAX], bool *out_ready)
{
	(void)out_ready;
	fds[0] = (struct pollfd){ .fd = ((const Grow *)stream)->report, .events = POLLIN };
	return 1;
}

static void answer(Stream *stream, uint64_t bytes)
{
	uint8_t buffer[STREAM_ANSWER_MAX];
	WireWriter writer;

	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_CLOSE, stream->id);
	wire_put_u64(&writer, WIRE_TAG_SIZE, bytes);
	stream_answer(stream, &writer);
}

static void step_grow(Stream *stream, const struct pollfd *fds, unsigned count)
{
	const Grow *grow = (const Grow *)stream;
	ResizeReport report;
	ssize_t got;

	if (!fd_events(fds, count, grow->report))
		return;
	got = read(grow->report, &report, sizeof(report));
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got != (ssize_t)sizeof(report))
		stream_fail(stream, WIRE_ERR_FAILED, "what grew the guest's filesystem was killed");
	else if (report.errnum)
		stream_fail(stream, error_kind(report.errnum),
			    "the guest cannot grow its filesystem: %s", strerror(report.errnum));
	else
		answer(stream, report.bytes);
}

static void drop_grow(Stream *stream)
{
	close_fd(&((Grow *)stream)->report);
}

const Service resize_fs_service = {
	.number = WIRE_SERVICE_RESIZE_FS,
	.size = sizeof(Grow),
	.writes = true,
	.open = open_grow,
	.poll = poll_grow,
	.step = step_grow,
	.drop = drop_grow,
};
