/* exec: a program in the guest with its input, output and end at the host. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "base.h"
#include "request.h"
#include "services.h"
#include "spawn.h"
#include "users.h"

/* A pipe to the host. */
typedef struct Outlet {
	int fd;
	size_t left; /* once the program has ended: what of its output is still in the pipe */
} Outlet;

typedef struct Exec {
	Stream stream;
	pid_t pid; /* 0 once reaped */
	int wait_status;
	bool is_running; /* the child became the program, and INFO was sent */
	int status_fd;
	int in;
	Outlet outlets[2];   /* stdout, stderr */
	char *program, *cwd; /* for messages; cwd is NULL when none was asked for */

	/* Input that the program has not read yet: at most the host's credit. */
	uint8_t *input;
	size_t input_begin, input_end;
} Exec;

static void report_failure(Stream *stream, const Request *request, const SpawnFailure *failure)
{
	const char *program = request->args[0], *reason = strerror(failure->errnum);

	if (failure->stage == SPAWN_SETUP)
		stream_fail(stream, error_kind(failure->errnum),
			    "the guest cannot start a process: %s", reason);
	else if (failure->stage == SPAWN_USER)
		stream_fail(stream, WIRE_ERR_BAD_USER, "cannot become that user: %s", reason);
	else if (failure->stage == SPAWN_CWD)
		stream_fail(stream, WIRE_ERR_BAD_CWD, "cannot work in '%s': %s",
			    request->cwd ? request->cwd : "/", reason);
	else if (failure->errnum == ENOENT && strchr(program, '/') && access(program, F_OK) == 0)
		stream_fail(stream, WIRE_ERR_NOT_FOUND,
			    "'%s' needs an interpreter or loader that the guest does not have",
			    program);
	else if (failure->errnum == ENOENT || failure->errnum == ENOTDIR)
		stream_fail(stream, WIRE_ERR_NOT_FOUND, "no program '%s' in the guest", program);
	else if (failure->errnum == ENOEXEC)
		stream_fail(stream, WIRE_ERR_NOT_EXECUTABLE, "'%s' is not a program for this guest",
			    program);
	else
		stream_fail(stream,
			    failure->errnum == EACCES || failure->errnum == EPERM
				    ? WIRE_ERR_DENIED
				    : WIRE_ERR_NOT_EXECUTABLE,
			    "cannot execute '%s': %s", program, reason);
}

static void open_exec(Stream *stream, Request *request)
{
	Exec *exec = (Exec *)stream;
	uint8_t buffer[STREAM_ANSWER_MAX];
	SpawnFailure failure;
	WireWriter writer;
	Spawned child;
	char self[32];
	User user;

	exec->in = exec->outlets[0].fd = exec->outlets[1].fd = -1;
	if (request->arg_count == 0) {
		stream_fail(stream, WIRE_ERR_BAD_REQUEST, "no program was named");
		return;
	}
	/* Root, or whoever runs the agent in a test. */
	(void)snprintf(self, sizeof(self), geteuid() == 0 ? "0" : "%u:%u", geteuid(), getegid());
	if (!user_find("", request->user ? request->user : self, &user)) {
		stream_fail(stream, WIRE_ERR_BAD_USER, "no user or group '%s' in the guest",
			    request->user);
		return;
	}
	if (spawn(request, &user, &child, &failure) < 0) {
		report_failure(stream, request, &failure);
		return;
	}
	exec->pid = child.pid;
	exec->in = child.in;
	exec->outlets[0].fd = child.out;
	exec->outlets[1].fd = child.err;
	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_INFO, stream->id);
	wire_put_u32(&writer, WIRE_TAG_PID, (uint32_t)child.pid);
	stream_answer(stream, &writer);
}

static unsigned poll_exec(Stream *stream, struct pollfd fds[STREAM_FDS_MAX], bool *out_ready)
{
	Exec *exec = (Exec *)stream;
	bool can_send = stream_send_room(stream) > 0;
	unsigned count = 0;

	(void)out_ready;
	if (exec->in >= 0 && exec->input_end > exec->input_begin)
		fds[count++] = (struct pollfd){ .fd = exec->in, .events = POLLOUT };
	for (int i = 0; i < 2; i++)
		if (exec->outlets[i].fd >= 0 && can_send)
			fds[count++] =
				(struct pollfd){ .fd = exec->outlets[i].fd, .events = POLLIN };
	return count;
}

static void drop_input(Exec *exec)
{
	size_t waiting = exec->input_end - exec->input_begin;

	exec->input_begin = exec->input_end = 0;
	close_fd(&exec->in);
	stream_consumed(&exec->stream, waiting);
}

/* Give the program what waits for it. */
static void push_input(Exec *exec)
{
	while (exec->input_begin < exec->input_end) {
		ssize_t done = write(exec->in, exec->input + exec->input_begin,
				     exec->input_end - exec->input_begin);

		if (done < 0 && errno == EAGAIN)
			return;
		if (done < 0) {
			drop_input(exec); /* it does not want more */
			return;
		}
		exec->input_begin += (size_t)done;
		stream_consumed(&exec->stream, (size_t)done);
	}
	exec->input_begin = exec->input_end = 0;
	if (exec->stream.host_eof)
		close_fd(&exec->in);
}

static void take_data(Stream *stream, const uint8_t *bytes, size_t size)
{
	Exec *exec = (Exec *)stream;

	if (exec->in >= 0 && !exec->input)
		exec->input = malloc(WIRE_WINDOW);
	if (exec->in < 0) {
		stream_consumed(stream, size);
		return;
	}
	if (!exec->input) {
		stream_fail(stream, WIRE_ERR_BUSY, "the guest is out of memory");
		return;
	}
	if (WIRE_WINDOW - exec->input_end < size) {
		memmove(exec->input, exec->input + exec->input_begin,
			exec->input_end - exec->input_begin);
		exec->input_end -= exec->input_begin;
		exec->input_begin = 0;
	}
	memcpy(exec->input + exec->input_end, bytes, size); /* fits: the host obeys its credit */
	exec->input_end += size;
	push_input(exec);
}

static void take_eof(Stream *stream)
{
	Exec *exec = (Exec *)stream;

	if (exec->in >= 0)
		push_input(exec);
}

/* One frame of output, when there is any. */
static void pump(Exec *exec, uint8_t channel)
{
	Outlet *outlet = &exec->outlets[channel];
	size_t max = exec->pid == 0 ? outlet->left : SIZE_MAX;
	ssize_t got;

	got = stream_send_from(&exec->stream, channel, outlet->fd, max);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got > 0 && exec->pid == 0)
		outlet->left -= (size_t)got;
	if (got <= 0 || (exec->pid == 0 && outlet->left == 0))
		close_fd(&outlet->fd);
}

/*
 * The program has ended. Children of it may hold the pipes open for ever, so from now on only what
 * is in the pipes is its output.
 */
static void learn_end(Exec *exec)
{
	if (waitpid(exec->pid, &exec->wait_status, WNOHANG) != exec->pid)
		return;
	exec->pid = 0;
	for (int i = 0; i < 2; i++) {
		Outlet *outlet = &exec->outlets[i];
		int left = 0;

		if (outlet->fd < 0)
			continue;
		if (ioctl(outlet->fd, FIONREAD, &left) < 0 || left <= 0)
			close_fd(&outlet->fd);
		outlet->left = (size_t)left;
	}
}

static void report_end(Exec *exec)
{
	uint8_t buffer[STREAM_ANSWER_MAX];
	int status = exec->wait_status;
	WireWriter writer;

	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_CLOSE, exec->stream.id);
	if (WIFSIGNALED(status))
		wire_put_u32(&writer, WIRE_TAG_SIGNAL, (uint32_t)WTERMSIG(status));
	else
		wire_put_u32(&writer, WIRE_TAG_STATUS, (uint32_t)WEXITSTATUS(status));
	stream_answer(&exec->stream, &writer);
}

static void step_exec(Stream *stream, const struct pollfd *fds, unsigned count)
{
	Exec *exec = (Exec *)stream;

	if (exec->in >= 0 && fd_events(fds, count, exec->in))
		push_input(exec);
	if (exec->pid != 0 && stream->agent->child_died)
		learn_end(exec);
	for (int i = 0; i < 2; i++)
		if (exec->outlets[i].fd >= 0 && stream_send_room(stream) > 0 &&
		    fd_events(fds, count, exec->outlets[i].fd))
			pump(exec, (uint8_t)i);
	if (exec->pid == 0 && exec->outlets[0].fd < 0 && exec->outlets[1].fd < 0)
		report_end(exec);
}

static void drop_exec(Stream *stream)
{
	Exec *exec = (Exec *)stream;

	if (exec->pid > 0)
		agent_end_group(stream->agent, exec->pid);
	close_fd(&exec->in);
	close_fd(&exec->outlets[0].fd);
	close_fd(&exec->outlets[1].fd);
	free(exec->input);
}

const Service exec_service = {
	.number = WIRE_SERVICE_EXEC,
	.size = sizeof(Exec),
	.open = open_exec,
	.poll = poll_exec,
	.step = step_exec,
	.data = take_data,
	.eof = take_eof,
	.drop = drop_exec,
};
