/*
 * QEMU, by its monitor protocol (hypervisor/qmp.h).
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "hypervisor/qmp.h"
#include "keeper/driver.h"
#include "keeper/sockets.h"
#include "util/mem.h"
#include "util/str.h"

/* Commands are tiny and few: what is not answered by then belongs to a QEMU that hangs. */
#define UNANSWERED_MAX 64

/* The ids of commands: what was asked is told by the answer. */
typedef enum CommandId {
	COMMAND_CAPABILITIES = 1,
	COMMAND_STATUS,
	COMMAND_REQUEST, /* + DriverRequest */
} CommandId;

static const char *const request_commands[] = {
	[DRIVER_PAUSE] = "stop",
	[DRIVER_RESUME] = "cont",
	[DRIVER_POWER_BUTTON] = "system_powerdown",
	[DRIVER_QUIT] = "quit",
};

typedef struct Qemu {
	Loop *loop;
	Source source;
	const DriverOwner *owner;
	void *arg;
	bool is_ready;
	unsigned unanswered;
	QmpReader reader;
} Qemu;

static void lose(Qemu *qemu, Error *why)
{
	loop_remove(qemu->loop, &qemu->source);
	close_fd(&qemu->source.fd);
	qemu->owner->lost(qemu->arg, why);
}

/* Commands are a few dozen bytes into an empty socket buffer: one that takes none has no reader. */
static bool send_command(Qemu *qemu, uint64_t id, const char *name)
{
	auto_free char *line = qmp_command(id, name);
	size_t len = strlen(line);

	if (qemu->source.fd < 0 || qemu->unanswered == UNANSWERED_MAX)
		return false;
	qemu->unanswered++;
	return send(qemu->source.fd, line, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

/* RunState: of all of them only one runs, and only one is left by another attempt. */
static void tell_status(const Qemu *qemu, const char *status)
{
	if (str_equal(status, "io-error"))
		qemu->owner->stuck(qemu->arg);
	else
		qemu->owner->paused(qemu->arg, !str_equal(status, "running"));
}

static void on_return(Qemu *qemu, const QmpMessage *message)
{
	if (message->id == COMMAND_CAPABILITIES) {
		(void)send_command(qemu, COMMAND_STATUS, "query-status");
	} else if (message->id == COMMAND_STATUS) {
		if (!qemu->is_ready) {
			qemu->is_ready = true;
			qemu->owner->ready(qemu->arg);
		}
		tell_status(qemu, message->text);
	} else if (message->id == COMMAND_REQUEST + DRIVER_PAUSE ||
		   message->id == COMMAND_REQUEST + DRIVER_RESUME) {
		/* Also when it was so before and there is no event. */
		qemu->owner->paused(qemu->arg, message->id == COMMAND_REQUEST + DRIVER_PAUSE);
	}
}

static void on_refusal(Qemu *qemu, const QmpMessage *message)
{
	const char *why = message->text ? message->text : "no reason given";

	if (message->id >= COMMAND_REQUEST &&
	    message->id < COMMAND_REQUEST + ARRAY_SIZE(request_commands)) {
		qemu->owner->refused(qemu->arg, (DriverRequest)(message->id - COMMAND_REQUEST),
				     why);
	} else {
		Error *err = NULL;

		error_set(&err, ERR_FAILED, "QEMU's monitor refused us: %s", why);
		lose(qemu, err);
	}
}

static void on_event(Qemu *qemu, const QmpMessage *message)
{
	if (!strcmp(message->name, "SHUTDOWN"))
		qemu->owner->shutdown(qemu->arg, message->text ? message->text : "unknown");
	else if (!strcmp(message->name, "GUEST_PANICKED"))
		qemu->owner->shutdown(qemu->arg, "guest-panic");
	else if (!strcmp(message->name, "STOP") && qemu->is_ready)
		(void)send_command(qemu, COMMAND_STATUS, "query-status"); /* why? */
	else if (!strcmp(message->name, "RESUME") && qemu->is_ready)
		qemu->owner->paused(qemu->arg, false);
}

static void on_message(Qemu *qemu, const QmpMessage *message)
{
	if (message->kind != QMP_EVENT && qemu->unanswered > 0)
		qemu->unanswered--;
	switch (message->kind) {
	case QMP_GREETING:
		qemu->unanswered = 0;
		(void)send_command(qemu, COMMAND_CAPABILITIES, "qmp_capabilities");
		break;
	case QMP_RETURN:
		on_return(qemu, message);
		break;
	case QMP_ERROR:
		on_refusal(qemu, message);
		break;
	case QMP_EVENT:
		on_event(qemu, message);
		break;
	}
}

static void on_ready(void *arg, short revents)
{
	Qemu *qemu = arg;
	Error *err = NULL;
	char *at;
	size_t room = qmp_reader_space(&qemu->reader, &at);
	ssize_t got = recv(qemu->source.fd, at, room, MSG_DONTWAIT);
	int more;

	(void)revents;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		error_set(&err, ERR_FAILED, "QEMU closed its monitor");
		lose(qemu, err);
		return;
	}
	qmp_reader_fed(&qemu->reader, (size_t)got);
	do {
		auto_qmp_message QmpMessage message = { 0 };

		more = qmp_reader_next(&qemu->reader, &message, &err);
		if (more > 0)
			on_message(qemu, &message);
	} while (more > 0 && qemu->source.fd >= 0);
	if (more < 0)
		lose(qemu, err);
}

static void *qemu_open(Loop *loop, const char *control_socket, const DriverOwner *owner, void *arg,
		       Error **err)
{
	Qemu *qemu;
	int fd;

	if (socket_connect(control_socket, &fd, err) < 0)
		return NULL;
	qemu = xcalloc(1, sizeof(*qemu)); /* the reader's pages are touched only when used */
	qemu->loop = loop;
	qemu->owner = owner;
	qemu->arg = arg;
	qemu->source = (Source){ .fd = fd, .events = POLLIN, .ready = on_ready, .arg = qemu };
	loop_add(loop, &qemu->source);
	return qemu;
}

static bool qemu_request(void *driver, DriverRequest request)
{
	Qemu *qemu = driver;

	return qemu->is_ready &&
	       send_command(qemu, COMMAND_REQUEST + request, request_commands[request]);
}

static void qemu_drain(void *driver)
{
	Qemu *qemu = driver;
	struct pollfd event = { .fd = qemu->source.fd, .events = POLLIN };

	/* Ends at the latest with the end of file that the process's death left. */
	while (qemu->source.fd >= 0 && poll(&event, 1, 0) > 0)
		on_ready(qemu, event.revents);
}

static void qemu_close(void *driver)
{
	Qemu *qemu = driver;

	if (!qemu)
		return;
	loop_remove(qemu->loop, &qemu->source);
	close_fd(&qemu->source.fd);
	free(qemu);
}

const Driver qemu_driver = {
	.name = "qemu",
	.open = qemu_open,
	.request = qemu_request,
	.drain = qemu_drain,
	.close = qemu_close,
};
