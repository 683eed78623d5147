#include "keeper/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "keeper/log.h"
#include "keeper/sockets.h"
#include "util/failpoint.h"
#include "util/mem.h"
#include "util/os.h"

/* What may wait for a client that does not read: several windows of several streams, with room for
 * a guest that sends its bytes one by one. */
#define QUEUE_MAX   ((size_t)4 << 20)
#define WAITERS_MAX 16
#define ANSWER_MAX  1024

/* A request that is answered later. */
typedef struct Waiter {
	uint32_t stream; /* 0: free */
	WireService service;
	Conn *conn;
	uint32_t limit_ms; /* until it is here; a hold then lasts as long */
	Timer timer;
	/* Of a hold. */
	bool is_ours; /* nobody else had paused it */
	bool is_held; /* and told so */
	bool is_let_go;
	bool is_expired; /* it was let go by somebody else than its client */
	int64_t held_ns; /* when */
} Waiter;

/* One `ember`. */
struct Conn {
	Control *control;
	Conn *next;
	bool is_greeted;
	Waiter waiters[WAITERS_MAX];
	Link link;
};

/* What a client asked for in its OPEN. */
typedef struct Request {
	uint8_t service;
	uint32_t timeout_ms;
	uint64_t size_bytes; /* 0: absent */
	const char *path;    /* of the frame; NULL: absent */
	bool has_timeout;
} Request;

static int parse_request(const WireFrame *frame, Request *out_request)
{
	WireReader reader = wire_reader(frame);
	Request request = { 0 };
	WireTlv tlv;
	int more;

	if (wire_tlv_next(&reader, &tlv) <= 0 || tlv.tag != WIRE_TAG_SERVICE ||
	    wire_tlv_u8(&tlv, &request.service) < 0)
		return -1;
	/* The rest of a guest's request is the guest's business. */
	while (request.service >= WIRE_SERVICE_HOST_FIRST &&
	       (more = wire_tlv_next(&reader, &tlv)) != 0) {
		if (more < 0)
			return -1;
		if (tlv.tag == WIRE_TAG_SIZE && wire_tlv_u64(&tlv, &request.size_bytes) < 0)
			return -1;
		if (tlv.tag == WIRE_TAG_PATH && wire_tlv_text(&tlv, &request.path) < 0)
			return -1;
		if (tlv.tag != WIRE_TAG_TIMEOUT_MS)
			continue;
		if (wire_tlv_u32(&tlv, &request.timeout_ms) < 0)
			return -1;
		request.has_timeout = true;
	}
	*out_request = request;
	return 0;
}

static void answer_state(Conn *conn, uint32_t stream, const char *state)
{
	uint8_t buffer[ANSWER_MAX];
	WireWriter writer;

	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_CLOSE, stream);
	if (state)
		wire_put_text(&writer, WIRE_TAG_STATE, state);
	link_send_bytes(&conn->link, buffer, wire_writer_finish(&writer));
}

static void answer_status(Conn *conn, uint32_t stream)
{
	const Control *control = conn->control;
	const ProcId *id = &control->machine->child.id;
	bool is_ready = control->channel->state == CHANNEL_READY;
	bool can_resize = machine_can_resize_disk(control->machine);
	bool can_switch = machine_can_switch_disk(control->machine);
	uint8_t buffer[ANSWER_MAX];
	WireWriter writer;

	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_CLOSE, stream);
	wire_put_text(&writer, WIRE_TAG_STATE, machine_state_word(control->machine));
	wire_put_u32(&writer, WIRE_TAG_FLAGS,
		     (is_ready ? WIRE_STATUS_AGENT_READY : 0) |
			     (can_resize ? WIRE_STATUS_DISK_RESIZE : 0) |
			     (can_switch ? WIRE_STATUS_DISK_SWITCH : 0));
	wire_put_u32(&writer, WIRE_TAG_PID, (uint32_t)id->pid);
	wire_put_u64(&writer, WIRE_TAG_STARTED, id->started);
	wire_put_u64(&writer, WIRE_TAG_SESSION, is_ready ? control->channel->session : 0);
	wire_put_u64(&writer, WIRE_TAG_UPTIME_MS, os_process_age_ms(id->started));
	link_send_bytes(&conn->link, buffer, wire_writer_finish(&writer));
}

/* The vCPUs may run again, as far as this hold is concerned. */
static void let_go(Waiter *waiter)
{
	if (waiter->is_ours && !waiter->is_let_go)
		(void)machine_request(waiter->conn->control->machine, DRIVER_RESUME);
	waiter->is_let_go = true;
}

static void end_waiter(Waiter *waiter)
{
	if (waiter->service == WIRE_SERVICE_HOLD)
		let_go(waiter);
	loop_drop_timer(waiter->conn->control->loop, &waiter->timer);
	waiter->stream = 0;
}

static void refuse_waiter(Waiter *waiter, WireError error, const char *message)
{
	uint32_t stream = waiter->stream;

	end_waiter(waiter);
	relay_refuse(&waiter->conn->link, stream, error, message);
}

static void answer_hold(const Waiter *waiter, WireType type)
{
	uint8_t buffer[ANSWER_MAX];
	WireWriter writer;

	wire_writer_begin(&writer, buffer, sizeof(buffer), type, waiter->stream);
	if (type == WIRE_CLOSE) {
		wire_put_u32(&writer, WIRE_TAG_FLAGS, waiter->is_expired ? WIRE_HOLD_EXPIRED : 0);
		wire_put_u64(&writer, WIRE_TAG_HELD_US,
			     (uint64_t)(clock_monotonic_ns() - waiter->held_ns) / 1000);
	}
	link_send_bytes(&waiter->conn->link, buffer, wire_writer_finish(&writer));
}

static void settle_hold(Waiter *waiter)
{
	Control *control = waiter->conn->control;
	bool is_paused = control->machine->state == MACHINE_PAUSED;

	if (!waiter->is_held && is_paused) {
		waiter->is_held = true;
		waiter->held_ns = clock_monotonic_ns();
		loop_set_timer(control->loop, &waiter->timer, deadline_in_ms(waiter->limit_ms));
		answer_hold(waiter, WIRE_INFO);
	} else if (waiter->is_let_go ? !is_paused || !waiter->is_ours
				     : waiter->is_held && !is_paused) {
		/* Not let go, it was resumed by another client, or to be stopped. */
		waiter->is_expired |= !waiter->is_let_go;
		waiter->is_let_go = true;
		answer_hold(waiter, WIRE_CLOSE);
		end_waiter(waiter);
	}
}

static void on_waiter_timeout(void *arg)
{
	Waiter *waiter = arg;

	if (waiter->service == WIRE_SERVICE_HOLD && waiter->is_held) {
		log_line("who holds the vm has done so for too long: it goes on");
		waiter->is_expired = true;
		let_go(waiter);
		settle_hold(waiter);
	} else {
		refuse_waiter(waiter, WIRE_ERR_TIMEOUT,
			      waiter->service == WIRE_SERVICE_HOLD
				      ? "the hypervisor does not stop the vm"
				      : "the guest's agent does not answer");
	}
}

/* Answer it if what it waits for has come. */
static void settle_waiter(Waiter *waiter)
{
	Control *control = waiter->conn->control;
	const Machine *machine = control->machine;
	uint32_t stream = waiter->stream;
	bool is_end = waiter->service == WIRE_SERVICE_STOP || waiter->service == WIRE_SERVICE_KILL;
	bool is_done = machine->state == MACHINE_GONE && is_end;

	if (machine->state == MACHINE_GONE && !is_end) {
		refuse_waiter(waiter, WIRE_ERR_STATE, "the vm has ended");
		return;
	}
	if (waiter->service == WIRE_SERVICE_WAIT_READY) {
		is_done = control->channel->state == CHANNEL_READY;
		if (control->channel->state == CHANNEL_FOREIGN) {
			refuse_waiter(waiter, WIRE_ERR_UNSUPPORTED,
				      "the guest's agent is of another version than this ember");
			return;
		}
	} else if (waiter->service == WIRE_SERVICE_HOLD) {
		settle_hold(waiter);
		return;
	} else if (waiter->service == WIRE_SERVICE_PAUSE) {
		is_done = machine->state == MACHINE_PAUSED;
	} else if (waiter->service == WIRE_SERVICE_RESUME) {
		is_done = machine->state == MACHINE_RUNNING;
	}
	if (!is_done)
		return;
	end_waiter(waiter);
	answer_state(waiter->conn, stream, is_end ? machine_exit_reason(machine) : NULL);
}

static void add_waiter(Conn *conn, uint32_t stream, const Request *request)
{
	for (size_t i = 0; i < WAITERS_MAX; i++) {
		Waiter *waiter = &conn->waiters[i];

		if (waiter->stream != 0)
			continue;
		*waiter = (Waiter){
			.stream = stream,
			.service = request->service,
			.conn = conn,
			.is_ours = conn->control->machine->state != MACHINE_PAUSED,
			.limit_ms = request->has_timeout ? request->timeout_ms : HOLD_TIMEOUT_MS,
			.timer = { .fired = on_waiter_timeout, .arg = waiter },
		};
		if (request->service == WIRE_SERVICE_HOLD ||
		    (request->service == WIRE_SERVICE_WAIT_READY && request->has_timeout))
			loop_set_timer(conn->control->loop, &waiter->timer,
				       deadline_in_ms(waiter->limit_ms));
		settle_waiter(waiter);
		return;
	}
	relay_refuse(&conn->link, stream, WIRE_ERR_BUSY, "too many requests at a time");
}

static void refuse_in_state(Conn *conn, uint32_t stream)
{
	auto_free char *message =
		xasprintf("the vm is %s", machine_state_word(conn->control->machine));

	relay_refuse(&conn->link, stream, WIRE_ERR_STATE, message);
}

static void pause_or_resume(Conn *conn, uint32_t stream, const Request *request)
{
	Machine *machine = conn->control->machine;
	bool is_pause = request->service != WIRE_SERVICE_RESUME;

	if (machine->state == MACHINE_STARTING || machine->rung != STOP_NOT) {
		refuse_in_state(conn, stream);
	} else if (!is_pause && machine->state == MACHINE_STUCK) {
		relay_refuse(&conn->link, stream, WIRE_ERR_STATE, "the vm's disk takes no writes");
	} else if (machine->state == (is_pause ? MACHINE_PAUSED : MACHINE_RUNNING) ||
		   machine_request(machine, is_pause ? DRIVER_PAUSE : DRIVER_RESUME)) {
		add_waiter(conn, stream, request);
	} else {
		relay_refuse(&conn->link, stream, WIRE_ERR_FAILED,
			     "the hypervisor does not answer its monitor");
	}
}

static void change_disk(Conn *conn, uint32_t stream, const Request *request)
{
	Machine *machine = conn->control->machine;
	bool is_resize = request->service == WIRE_SERVICE_DISK_RESIZE;
	auto_error why = NULL;

	if (is_resize ? !request->size_bytes : !request->path || request->path[0] != '/')
		relay_refuse(&conn->link, stream, WIRE_ERR_BAD_REQUEST,
			     is_resize ? "a resize needs a size" : "a switch needs a file");
	else if (is_resize ? !machine_can_resize_disk(machine) : !machine_can_switch_disk(machine))
		relay_refuse(&conn->link, stream, WIRE_ERR_UNSUPPORTED,
			     "the hypervisor cannot change a disk that it has open");
	else if (machine->state == MACHINE_STARTING || machine->rung != STOP_NOT)
		refuse_in_state(conn, stream);
	else if (failpoint("keeper.disk.find", &why) < 0)
		relay_refuse(&conn->link, stream, WIRE_ERR_FAILED, error_text(why));
	else if (is_resize ? machine_resize_disk(machine, request->size_bytes)
			   : machine_switch_disk(machine, request->path))
		add_waiter(conn, stream, request);
	else
		relay_refuse(&conn->link, stream, WIRE_ERR_BUSY,
			     "the hypervisor does not listen, or changes the disk already");
}

static void serve(Conn *conn, uint32_t stream, const Request *request)
{
	Control *control = conn->control;

	switch ((WireService)request->service) {
	case WIRE_SERVICE_STATUS:
		answer_status(conn, stream);
		return;
	case WIRE_SERVICE_WAIT_READY:
		add_waiter(conn, stream, request);
		return;
	case WIRE_SERVICE_STOP:
		/* First wait, then act: what happens at once must find who waits for it. */
		add_waiter(conn, stream, request);
		machine_stop(control->machine,
			     request->has_timeout ? request->timeout_ms : STOP_TIMEOUT_MS);
		return;
	case WIRE_SERVICE_KILL:
		add_waiter(conn, stream, request);
		machine_kill(control->machine);
		return;
	case WIRE_SERVICE_PAUSE:
	case WIRE_SERVICE_RESUME:
	case WIRE_SERVICE_HOLD:
		pause_or_resume(conn, stream, request);
		return;
	case WIRE_SERVICE_DISK_RESIZE:
	case WIRE_SERVICE_DISK_SWITCH:
		change_disk(conn, stream, request);
		return;
	case WIRE_SERVICE_PING:
	case WIRE_SERVICE_EXEC:
	case WIRE_SERVICE_PUT_FILE:
	case WIRE_SERVICE_GET_FILE:
	case WIRE_SERVICE_POWEROFF:
	case WIRE_SERVICE_REBOOT:
	case WIRE_SERVICE_RESIZE_FS:
	case WIRE_SERVICE_SET_IDENTITY:
	case WIRE_SERVICE_TRIM:
	case WIRE_SERVICE_FREEZE:
		break; /* the guest's */
	}
	relay_refuse(&conn->link, stream, WIRE_ERR_UNSUPPORTED, "the keeper has no such service");
}

static Waiter *find_waiter(Conn *conn, uint32_t stream)
{
	for (size_t i = 0; i < WAITERS_MAX; i++)
		if (conn->waiters[i].stream == stream)
			return &conn->waiters[i];
	return NULL;
}

static bool on_open(Conn *conn, const WireFrame *frame)
{
	Request request;

	if (find_waiter(conn, frame->stream)) {
		conn->link.is_dead = true; /* it uses an id twice */
	} else if (parse_request(frame, &request) < 0) {
		relay_refuse(&conn->link, frame->stream, WIRE_ERR_BAD_REQUEST,
			     "the request cannot be read");
	} else if (request.service < WIRE_SERVICE_HOST_FIRST) {
		return relay_from_client(conn->control->relay, &conn->link, frame);
	} else {
		serve(conn, frame->stream, &request);
	}
	return true;
}

static void on_hello(Conn *conn, const WireFrame *frame)
{
	WireHello hello, answer = { .version = WIRE_VERSION, .step = WIRE_STEP_ACCEPT };
	uint8_t bytes[WIRE_HEADER_SIZE + WIRE_HELLO_SIZE];

	wire_unpack_hello(frame, &hello);
	answer.session = hello.session;
	link_send_bytes(&conn->link, bytes, wire_pack_hello(bytes, &answer));
	/* The other one sees our version in the answer and says it to its user. */
	if (conn->is_greeted || hello.version != WIRE_VERSION || hello.step != WIRE_STEP_REQUEST)
		conn->link.is_dead = true;
	conn->is_greeted = true;
}

static bool on_frame(void *arg, const WireFrame *frame)
{
	Conn *conn = arg;
	WireFrame answer = *frame;
	Waiter *waiter;

	switch ((WireType)frame->type) {
	case WIRE_HELLO:
		on_hello(conn, frame);
		return true;
	case WIRE_OPEN:
		return on_open(conn, frame);
	case WIRE_PING:
		answer.type = WIRE_PONG;
		link_send(&conn->link, &answer);
		return true;
	case WIRE_PONG:
		return true;
	case WIRE_RESET:
		waiter = find_waiter(conn, frame->stream);
		if (!waiter)
			break;
		end_waiter(waiter);
		link_send(&conn->link, &answer);
		return true;
	case WIRE_EOF:
		waiter = find_waiter(conn, frame->stream);
		if (!waiter || waiter->service != WIRE_SERVICE_HOLD)
			break;
		let_go(waiter);
		settle_hold(waiter);
		return true;
	case WIRE_DATA:
	case WIRE_WINDOW_ADD:
		break;
	case WIRE_INFO:
	case WIRE_CLOSE:
		conn->link.is_dead = true; /* only a guest may say that */
		return true;
	}
	return relay_from_client(conn->control->relay, &conn->link, frame);
}

static void on_malformed(void *arg)
{
	Conn *conn = arg;

	conn->link.is_dead = true;
}

static const LinkOwner link_owner = { .frame = on_frame, .malformed = on_malformed };

static bool peer_is_allowed(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

static void on_connection(void *arg, short revents)
{
	Control *control = arg;
	auto_fd fd = accept4(control->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	Conn *conn;

	(void)revents;
	if (fd < 0) {
		/* Out of descriptors: listen again when a client has gone. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			control->listener.events = 0;
		return;
	}
	if (!peer_is_allowed(fd)) {
		log_line("a client of another user was refused");
		return;
	}
	/* Not zeroed as a whole: the parser is large and touched only as far as needed. */
	conn = xmalloc(sizeof(*conn));
	conn->control = control;
	conn->is_greeted = false;
	memset(conn->waiters, 0, sizeof(conn->waiters));
	conn->next = control->conns;
	control->conns = conn;
	link_open(&conn->link, control->loop, steal_fd(&fd), QUEUE_MAX, &link_owner, conn);
}

int control_open(Control *control, Loop *loop, const char *socket, Machine *machine,
		 Channel *channel, Relay *relay, Error **err)
{
	*control = (Control){
		.loop = loop,
		.listener = { .fd = -1, .events = POLLIN, .ready = on_connection, .arg = control },
		.machine = machine,
		.channel = channel,
		.relay = relay,
	};
	if (socket_listen(socket, &control->listener.fd, err) < 0)
		return -1;
	loop_add(loop, &control->listener);
	return 0;
}

void control_stop_listening(Control *control)
{
	loop_remove(control->loop, &control->listener);
	close_fd(&control->listener.fd);
}

void control_changed(Control *control)
{
	for (Conn *conn = control->conns; conn; conn = conn->next)
		for (size_t i = 0; i < WAITERS_MAX; i++)
			if (conn->waiters[i].stream != 0)
				settle_waiter(&conn->waiters[i]);
}

/* Does it wait for what came of that request? */
static bool waits_for(const Waiter *waiter, DriverRequest request)
{
	if (waiter->stream == 0)
		return false;
	switch (request) {
	case DRIVER_PAUSE:
		return waiter->service == WIRE_SERVICE_PAUSE ||
		       waiter->service == WIRE_SERVICE_HOLD;
	case DRIVER_RESUME:
		return waiter->service == WIRE_SERVICE_RESUME;
	case DRIVER_DISK_RESIZE:
		return waiter->service == WIRE_SERVICE_DISK_RESIZE;
	case DRIVER_DISK_SWITCH:
		return waiter->service == WIRE_SERVICE_DISK_SWITCH;
	case DRIVER_POWER_BUTTON:
	case DRIVER_QUIT:
		break;
	}
	return false;
}

static void answer_waiters(Control *control, DriverRequest request, const char *why_not)
{
	for (Conn *conn = control->conns; conn; conn = conn->next)
		for (size_t i = 0; i < WAITERS_MAX; i++) {
			Waiter *waiter = &conn->waiters[i];
			uint32_t stream = waiter->stream;

			if (!waits_for(waiter, request))
				continue;
			if (why_not) {
				refuse_waiter(waiter, WIRE_ERR_FAILED, why_not);
				continue;
			}
			end_waiter(waiter);
			answer_state(conn, stream, /* state= */ NULL);
		}
}

void control_done(Control *control, DriverRequest request)
{
	answer_waiters(control, request, /* why_not= */ NULL);
}

void control_refused(Control *control, DriverRequest request, const char *why)
{
	answer_waiters(control, request, why);
}

static void drop_conn(Conn *conn)
{
	for (size_t i = 0; i < WAITERS_MAX; i++)
		if (conn->waiters[i].stream != 0)
			end_waiter(&conn->waiters[i]);
	relay_drop_client(conn->control->relay, &conn->link);
	link_close(&conn->link);
	free(conn);
}

void control_tend(Control *control)
{
	bool has_room = channel_has_room(control->channel);

	for (Conn **at = &control->conns; *at;) {
		Conn *conn = *at;

		if (has_room || control->channel->state != CHANNEL_READY)
			link_resume(&conn->link);
		if (!conn->link.is_dead) {
			at = &conn->next;
			continue;
		}
		*at = conn->next;
		drop_conn(conn);
		control->listener.events = POLLIN;
	}
}

void control_close(Control *control, Deadline until)
{
	control_stop_listening(control);
	while (control->conns) {
		Conn *conn = control->conns;
		Link *link = &conn->link;

		while (!link->is_dead && link_queued(link) > 0) {
			struct pollfd event = { .fd = link->source.fd, .events = POLLOUT };

			if (poll(&event, 1, deadline_poll_ms(until)) <= 0)
				break;
			link->source.ready(link, event.revents & (POLLOUT | POLLERR));
		}
		control->conns = conn->next;
		drop_conn(conn);
	}
}
