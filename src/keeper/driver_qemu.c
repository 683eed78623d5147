/*
 * QEMU, by its monitor protocol (hypervisor/qmp.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "hypervisor/qmp.h"
#include "keeper/driver.h"
#include "keeper/sockets.h"
#include "util/failpoint.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

/* Commands are tiny and few: what is not answered by then belongs to a QEMU that hangs. */
#define UNANSWERED_MAX 64

/* Of the nodes that are the guest's disk, one on the other; numbers follow. */
#define NODE_PREFIX "disk"

/* The ids of commands: what was asked is told by the answer. */
typedef enum CommandId {
	COMMAND_CAPABILITIES = 1,
	COMMAND_STATUS,
	COMMAND_DISK,	 /* which node a change of the disk is for */
	COMMAND_OVERLAY, /* make the node that is to be on top of it */
	COMMAND_DROP,	 /* that was not to be */
	COMMAND_REQUEST, /* + DriverRequest */
} CommandId;

static const char *const request_commands[] = {
	[DRIVER_PAUSE] = "stop",
	[DRIVER_RESUME] = "cont",
	[DRIVER_POWER_BUTTON] = "system_powerdown",
	[DRIVER_QUIT] = "quit",
	[DRIVER_DISK_RESIZE] = "block_resize",
	[DRIVER_DISK_SWITCH] = "blockdev-snapshot",
};

/* A change of the disk takes several commands. */
typedef struct DiskChange {
	bool is_under_way;
	DriverRequest request; /* DRIVER_DISK_RESIZE or DRIVER_DISK_SWITCH */
	uint64_t size_bytes;
	char *overlay;	    /* the file */
	char *node;	    /* the one on top now */
	char *overlay_node; /* that the overlay gets */
	bool is_overlay_open;
} DiskChange;

typedef struct Qemu {
	Loop *loop;
	Source source;
	const DriverOwner *owner;
	void *arg;
	bool is_ready;
	unsigned unanswered;
	DiskChange change;
	QmpReader reader;
} Qemu;

static void lose(Qemu *qemu, Error *why)
{
	loop_remove(qemu->loop, &qemu->source);
	close_fd(&qemu->source.fd);
	qemu->owner->lost(qemu->arg, why);
}

/* Commands are some dozen bytes into an empty socket buffer: one that takes none has no reader. Takes the arguments. */
static bool send_with(Qemu *qemu, uint64_t id, const char *name, json_t *arguments)
{
	auto_free char *line = qmp_command(id, name, arguments);
	size_t len = strlen(line);

	if (qemu->source.fd < 0 || qemu->unanswered == UNANSWERED_MAX)
		return false;
	qemu->unanswered++;
	return send(qemu->source.fd, line, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

static bool send_command(Qemu *qemu, uint64_t id, const char *name)
{
	return send_with(qemu, id, name, /* arguments= */ NULL);
}

static void end_change(Qemu *qemu, const char *why_not)
{
	DriverRequest request = qemu->change.request;

	free(qemu->change.overlay);
	free(qemu->change.node);
	free(qemu->change.overlay_node);
	qemu->change = (DiskChange){ 0 };
	if (why_not)
		qemu->owner->refused(qemu->arg, request, why_not);
	else
		qemu->owner->done(qemu->arg, request);
}

/* The next command of the change. Takes the arguments. */
static int go_on(Qemu *qemu, uint64_t id, const char *name, json_t *arguments, Error **err)
{
	if (send_with(qemu, id, name, arguments))
		return 0;
	return error_set(err, ERR_FAILED, "its monitor does not listen");
}

static int resize_node(Qemu *qemu, Error **err)
{
	json_t *arguments;

	if (failpoint("keeper.disk.resize", err) < 0)
		return -1;
	arguments = json_object();
	json_put_string(arguments, "node-name", qemu->change.node);
	json_put_u64(arguments, "size", qemu->change.size_bytes);
	return go_on(qemu, COMMAND_REQUEST + DRIVER_DISK_RESIZE,
		     request_commands[DRIVER_DISK_RESIZE], arguments, err);
}

/* Close a node that nothing is on; one that is in use, or is not there, stays as it is. */
static void drop_node(Qemu *qemu, const char *node)
{
	json_t *arguments = json_object();

	json_put_string(arguments, "node-name", node);
	(void)send_with(qemu, COMMAND_DROP, "blockdev-del", arguments);
}

/* disk0, the one of the command line, is under disk1, and so on: a keeper that adopts the VM knows what its predecessor has
 * opened and did not live to use. It has the file locked, which others will soon want to read. */
static char *node_above(const char *node)
{
	uint64_t number = 0;

	if (str_starts_with(node, NODE_PREFIX))
		number = strtoull(node + strlen(NODE_PREFIX), NULL, 10);
	return xasprintf(NODE_PREFIX "%llu", (unsigned long long)number + 1);
}

/* As the disk of the command line (hypervisor/qemu.c), but without what is below it: that is open already. */
static int add_overlay(Qemu *qemu, Error **err)
{
	json_t *arguments;
	json_t *file;

	if (failpoint("keeper.disk.overlay", err) < 0)
		return -1;
	qemu->change.overlay_node = node_above(qemu->change.node);
	drop_node(qemu, qemu->change.overlay_node);
	file = json_object();
	json_put_string(file, "driver", "file");
	json_put_string(file, "filename", qemu->change.overlay);
	json_put_string(file, "locking", "on");
	json_put_string(file, "aio", "threads");
	arguments = json_object();
	json_put_string(arguments, "driver", "qcow2");
	json_put_string(arguments, "node-name", qemu->change.overlay_node);
	json_put_string(arguments, "discard", "unmap");
	json_put_string(arguments, "detect-zeroes", "unmap");
	json_put_take(arguments, "backing", json_null());
	json_put_take(arguments, "file", file);
	return go_on(qemu, COMMAND_OVERLAY, "blockdev-add", arguments, err);
}

/* Flushes what is below, and reads from it only from now on. */
static int put_on_top(Qemu *qemu, Error **err)
{
	json_t *arguments;

	qemu->change.is_overlay_open = true;
	if (failpoint("keeper.disk.switch", err) < 0)
		return -1;
	arguments = json_object();
	json_put_string(arguments, "node", qemu->change.node);
	json_put_string(arguments, "overlay", qemu->change.overlay_node);
	return go_on(qemu, COMMAND_REQUEST + DRIVER_DISK_SWITCH,
		     request_commands[DRIVER_DISK_SWITCH], arguments, err);
}

static void refuse_change(Qemu *qemu, const char *why)
{
	if (qemu->change.is_overlay_open)
		drop_node(qemu, qemu->change.overlay_node);
	end_change(qemu, why);
}

static int found_disk(Qemu *qemu, const char *node, Error **err)
{
	if (!node)
		return error_set(err, ERR_FAILED, "it has no disk");
	str_assign(&qemu->change.node, node);
	return qemu->change.request == DRIVER_DISK_RESIZE ? resize_node(qemu, err)
							  : add_overlay(qemu, err);
}

/* The disk is what it should be, whatever becomes of us. */
static int finish_change(Qemu *qemu, Error **err)
{
	qemu->change.is_overlay_open = false;
	if (failpoint("keeper.disk.changed", err) < 0)
		return -1;
	end_change(qemu, /* why_not= */ NULL);
	return 0;
}

/* False: the answer is to something else. */
static bool on_change_return(Qemu *qemu, const QmpMessage *message)
{
	auto_error why = NULL;
	int result;

	if (message->id == COMMAND_DISK)
		result = found_disk(qemu, message->text, &why);
	else if (message->id == COMMAND_OVERLAY)
		result = put_on_top(qemu, &why);
	else if (message->id == COMMAND_REQUEST + DRIVER_DISK_RESIZE ||
		 message->id == COMMAND_REQUEST + DRIVER_DISK_SWITCH)
		result = finish_change(qemu, &why);
	else
		return message->id == COMMAND_DROP;
	if (result < 0)
		refuse_change(qemu, error_text(why));
	return true;
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
	} else if (!on_change_return(qemu, message) &&
		   (message->id == COMMAND_REQUEST + DRIVER_PAUSE ||
		    message->id == COMMAND_REQUEST + DRIVER_RESUME)) {
		/* Also when it was so before and there is no event. */
		qemu->owner->paused(qemu->arg, message->id == COMMAND_REQUEST + DRIVER_PAUSE);
	}
}

static void on_refusal(Qemu *qemu, const QmpMessage *message)
{
	const char *why = message->text ? message->text : "no reason given";

	if (message->id == COMMAND_DROP)
		return;
	if (message->id == COMMAND_DISK || message->id == COMMAND_OVERLAY ||
	    message->id == COMMAND_REQUEST + DRIVER_DISK_RESIZE ||
	    message->id == COMMAND_REQUEST + DRIVER_DISK_SWITCH) {
		refuse_change(qemu, why);
	} else if (message->id >= COMMAND_REQUEST &&
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

static bool begin_change(Qemu *qemu, DriverRequest request)
{
	if (!qemu->is_ready || qemu->change.is_under_way ||
	    !send_command(qemu, COMMAND_DISK, "query-block"))
		return false;
	qemu->change = (DiskChange){ .is_under_way = true, .request = request };
	return true;
}

static bool qemu_resize_disk(void *driver, uint64_t size_bytes)
{
	Qemu *qemu = driver;

	if (!begin_change(qemu, DRIVER_DISK_RESIZE))
		return false;
	qemu->change.size_bytes = size_bytes;
	return true;
}

static bool qemu_switch_disk(void *driver, const char *overlay)
{
	Qemu *qemu = driver;

	if (!begin_change(qemu, DRIVER_DISK_SWITCH))
		return false;
	qemu->change.overlay = xstrdup(overlay);
	return true;
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
	free(qemu->change.overlay);
	free(qemu->change.node);
	free(qemu->change.overlay_node);
	free(qemu);
}

const Driver qemu_driver = {
	.name = "qemu",
	.open = qemu_open,
	.request = qemu_request,
	.resize_disk = qemu_resize_disk,
	.switch_disk = qemu_switch_disk,
	.drain = qemu_drain,
	.close = qemu_close,
};
