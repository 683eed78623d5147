/*
 * trim: the host gets back what the filesystem does not use. Range by range, so that the agent goes
 * on with what else it has to do.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent.h"
#include "base.h"
#include "request.h"
#include "services.h"

/* From linux/fs.h, struct fstrim_range: where it begins, how long it is (the answer: how much of it was
 * discarded), and from which length on it is worth it. */
typedef uint64_t TrimRange[3];
#define FITRIM _IOWR('X', 121, TrimRange)

#define RANGE_BYTES (1ULL << 30)

typedef struct Trim {
	Stream stream;
	int fd;
	uint64_t start; /* of the next range */
	uint64_t trimmed;
} Trim;

static void open_trim(Stream *stream, Request *request)
{
	Trim *trim = (Trim *)stream;
	const char *path = request->path ? request->path : "/";

	trim->fd = -1;
	if (!stream->agent->is_machine) {
		stream_fail(stream, WIRE_ERR_UNSUPPORTED, "this agent does not own its machine");
		return;
	}
	trim->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* What was deleted a moment ago is unused only once that is on the disk. */
	if (trim->fd < 0 || syncfs(trim->fd) < 0)
		stream_fail(stream, error_kind(errno), "cannot trim the filesystem on '%s': %s",
			    path, strerror(errno));
}

static unsigned poll_trim(Stream *stream, struct pollfd fds[STREAM_FDS_MAX], bool *out_ready)
{
	(void)stream;
	(void)fds;
	*out_ready = true;
	return 0;
}

static void answer(Stream *stream, uint64_t trimmed)
{
	uint8_t buffer[STREAM_ANSWER_MAX];
	WireWriter writer;

	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_CLOSE, stream->id);
	wire_put_u64(&writer, WIRE_TAG_SIZE, trimmed);
	stream_answer(stream, &writer);
}

static void step_trim(Stream *stream, const struct pollfd *fds, unsigned count)
{
	Trim *trim = (Trim *)stream;
	TrimRange range = { trim->start, RANGE_BYTES };

	(void)fds;
	(void)count;
	if (ioctl(trim->fd, FITRIM, range) == 0) {
		trim->trimmed += range[1];
		trim->start += RANGE_BYTES;
	} else if (errno == EINVAL && trim->start > 0) {
		answer(stream, trim->trimmed); /* the range begins behind the end */
	} else {
		bool cannot = errno == EOPNOTSUPP || errno == ENOTTY;

		stream_fail(stream, cannot ? WIRE_ERR_UNSUPPORTED : error_kind(errno),
			    "the guest's filesystem cannot be trimmed: %s", strerror(errno));
	}
}

static void drop_trim(Stream *stream)
{
	close_fd(&((Trim *)stream)->fd);
}

const Service trim_service = {
	.number = WIRE_SERVICE_TRIM,
	.size = sizeof(Trim),
	.writes = true,
	.open = open_trim,
	.poll = poll_trim,
	.step = step_trim,
	.drop = drop_trim,
};
