/* put-file and get-file: one regular file, whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "request.h"
#include "services.h"

#define PATH_SIZE 4096
/* Written to disk as it comes, so more may be under way than a program's stdin could take. */
#define PUT_WINDOW (4 * WIRE_WINDOW)

typedef struct Put {
	Stream stream;
	int fd;
	char *path, *aside; /* the file, and what it is until it is complete */
	uint64_t received, size;
	bool has_size;
	uint32_t mode;
	uid_t uid;
	gid_t gid;
} Put;

typedef struct Get {
	Stream stream;
	int fd;
	uint64_t sent, size;
} Get;

static void fail_errno(Stream *stream, const char *action, const char *path)
{
	int errnum = errno;

	stream_fail(stream, error_kind(errnum), "cannot %s '%s' in the guest: %s", action, path,
		    strerror(errnum));
}

static bool is_file_name(const char *name)
{
	return name && name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

/* True when the content cannot go to a file of that kind; the stream has failed then. */
static bool refuse_kind(Stream *stream, const char *path, mode_t mode)
{
	if (S_ISDIR(mode))
		stream_fail(stream, WIRE_ERR_IS_DIRECTORY, "'%s' is a directory in the guest",
			    path);
	else if (!S_ISREG(mode))
		stream_fail(stream, WIRE_ERR_NOT_REGULAR, "'%s' is not a regular file in the guest",
			    path);
	return !S_ISREG(mode);
}

/*
 * Where does the content go? A directory takes it under the given name; a link to a file stays and
 * its target is replaced. Fills path, and the owner of a file that is replaced.
 */
static bool find_target(Put *put, const Request *request)
{
	Stream *stream = &put->stream;
	char path[PATH_SIZE];
	struct stat status;
	bool exists = stat(request->path, &status) == 0;
	bool is_inside = exists && S_ISDIR(status.st_mode) && is_file_name(request->name);

	if (snprintf(path, sizeof(path), "%s%s%s", request->path, is_inside ? "/" : "",
		     is_inside ? request->name : "") >= (int)sizeof(path)) {
		stream_fail(stream, WIRE_ERR_BAD_REQUEST, "the path is too long");
		return false;
	}
	if (is_inside)
		exists = stat(path, &status) == 0;
	if (exists) {
		if (refuse_kind(stream, path, status.st_mode))
			return false;
		put->uid = status.st_uid;
		put->gid = status.st_gid;
		put->path = realpath(path, NULL);
	} else {
		put->path = strdup(path);
	}
	if (!put->path)
		fail_errno(stream, "find", path);
	return put->path != NULL;
}

/* Make the temporary file beside its final place. */
static bool begin_aside(Put *put)
{
	const char *slash = strrchr(put->path, '/');
	char aside[PATH_SIZE + 32];

	if (slash[1] == '\0') {
		errno = ENOENT; /* `DIR/` that does not exist */
		return false;
	}
	(void)snprintf(aside, sizeof(aside), "%.*s/.ember-put-XXXXXX", (int)(slash - put->path),
		       put->path);
	put->fd = mkostemp(aside, O_CLOEXEC);
	if (put->fd < 0)
		return false;
	put->aside = strdup(aside);
	if (!put->aside)
		(void)unlink(aside);
	return put->aside != NULL;
}

static void open_put(Stream *stream, Request *request)
{
	Put *put = (Put *)stream;

	put->fd = -1;
	put->uid = geteuid();
	put->gid = getegid();
	if (!request->path || request->path[0] != '/' || !request->has_mode) {
		stream_fail(stream, WIRE_ERR_BAD_REQUEST,
			    "an absolute path and a mode are needed to write a file");
		return;
	}
	if (!find_target(put, request))
		return;
	if (!begin_aside(put)) {
		fail_errno(stream, "write", put->path);
		return;
	}
	put->mode = request->mode & 07777;
	put->has_size = request->has_size;
	put->size = request->size;
	if (request->has_uid)
		put->uid = request->uid;
	if (request->has_gid)
		put->gid = request->gid;
	stream_extend_window(stream, PUT_WINDOW - WIRE_WINDOW);
}

static void take_put(Stream *stream, const uint8_t *bytes, size_t size)
{
	Put *put = (Put *)stream;

	put->received += size;
	if (put->has_size && put->received > put->size)
		stream_fail(stream, WIRE_ERR_BAD_REQUEST, "more bytes came than were announced");
	else if (write_all(put->fd, bytes, size) < 0)
		fail_errno(stream, "write", put->path);
	else
		stream_consumed(stream, size);
}

static void close_with_size(Stream *stream, uint64_t size)
{
	uint8_t buffer[STREAM_ANSWER_MAX];
	WireWriter writer;

	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_CLOSE, stream->id);
	wire_put_u64(&writer, WIRE_TAG_SIZE, size);
	stream_answer(stream, &writer);
}

static void finish_put(Stream *stream)
{
	Put *put = (Put *)stream;

	if (put->has_size && put->received != put->size) {
		stream_fail(stream, WIRE_ERR_BAD_REQUEST, "only %llu of %llu bytes came",
			    (unsigned long long)put->received, (unsigned long long)put->size);
		return;
	}
	/* The owner first: changing it clears the set-id bits of the mode. */
	if (fchown(put->fd, put->uid, put->gid) < 0 || fchmod(put->fd, put->mode) < 0 ||
	    rename(put->aside, put->path) < 0) {
		fail_errno(stream, "write", put->path);
		return;
	}
	free(put->aside);
	put->aside = NULL;
	close_with_size(stream, put->received);
}

static void drop_put(Stream *stream)
{
	Put *put = (Put *)stream;

	if (put->aside)
		(void)unlink(put->aside);
	close_fd(&put->fd);
	free(put->aside);
	free(put->path);
}

static void open_get(Stream *stream, Request *request)
{
	Get *get = (Get *)stream;
	uint8_t buffer[STREAM_ANSWER_MAX];
	struct stat status;
	WireWriter writer;

	get->fd = -1;
	if (!request->path || request->path[0] != '/') {
		stream_fail(stream, WIRE_ERR_BAD_REQUEST,
			    "an absolute path is needed to read a file");
		return;
	}
	/* Look before opening: merely opening a device can do things. */
	if (stat(request->path, &status) < 0) {
		fail_errno(stream, "read", request->path);
		return;
	}
	if (refuse_kind(stream, request->path, status.st_mode))
		return;
	get->fd = open(request->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (get->fd < 0 || fstat(get->fd, &status) < 0) {
		fail_errno(stream, "read", request->path);
		return;
	}
	get->size = status.st_size > 0 ? (uint64_t)status.st_size : UINT64_MAX;
	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_INFO, stream->id);
	wire_put_u64(&writer, WIRE_TAG_SIZE, (uint64_t)status.st_size);
	wire_put_u32(&writer, WIRE_TAG_MODE, status.st_mode & 07777);
	wire_put_u32(&writer, WIRE_TAG_UID, status.st_uid);
	wire_put_u32(&writer, WIRE_TAG_GID, status.st_gid);
	wire_put_u64(&writer, WIRE_TAG_MTIME, (uint64_t)status.st_mtime);
	stream_answer(stream, &writer);
}

static unsigned poll_get(Stream *stream, struct pollfd fds[STREAM_FDS_MAX], bool *out_ready)
{
	(void)fds;
	*out_ready |= stream_send_room(stream) > 0;
	return 0;
}

static void step_get(Stream *stream, const struct pollfd *fds, unsigned count)
{
	Get *get = (Get *)stream;
	uint64_t left = get->size - get->sent;
	ssize_t got;

	(void)fds;
	(void)count;
	if (left > 0 && stream_send_room(stream) == 0)
		return;
	got = left > 0 ? stream_send_from(stream, WIRE_CHANNEL_MAIN, get->fd,
					  left < SIZE_MAX ? (size_t)left : SIZE_MAX)
		       : 0;
	if (got > 0)
		get->sent += (uint64_t)got;
	else if (got == 0)
		close_with_size(stream, get->sent);
	else
		stream_fail(stream, error_kind(errno), "cannot read the file to its end: %s",
			    strerror(errno));
}

static void drop_get(Stream *stream)
{
	close_fd(&((Get *)stream)->fd);
}

const Service put_file_service = {
	.number = WIRE_SERVICE_PUT_FILE,
	.size = sizeof(Put),
	.writes = true,
	.open = open_put,
	.data = take_put,
	.eof = finish_put,
	.drop = drop_put,
};

const Service get_file_service = {
	.number = WIRE_SERVICE_GET_FILE,
	.size = sizeof(Get),
	.open = open_get,
	.poll = poll_get,
	.step = step_get,
	.drop = drop_get,
};
