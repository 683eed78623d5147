#include "agent/client.h"

#include <limits.h>

#include "agent/conn.h"
#include "util/mem.h"

/* How often a silent agent is asked whether it is there. */
#define POKES 6

void vm_status_release(VmStatus *status)
{
	free(status->state);
	*status = (VmStatus){ 0 };
}

void agent_info_release(AgentInfo *info)
{
	free(info->version);
	*info = (AgentInfo){ 0 };
}

/* A request without arguments. */
static int call(Client *client, WireService service, Deadline until, Outcome *out_outcome,
		Error **err)
{
	WireWriter writer;

	conn_begin(client, &writer, service);
	return conn_call(client, &writer, until, out_outcome, err);
}

/* A text of the answer, owned; "unknown" when it had none. */
static char *take_text(char **text)
{
	return *text ? steal(text) : xstrdup("unknown");
}

int client_status(Client *client, Deadline until, VmStatus *out_status, Error **err)
{
	auto_outcome Outcome outcome = { 0 };

	if (call(client, WIRE_SERVICE_STATUS, until, &outcome, err) < 0)
		return error_wrap(err, "ask the keeper");
	*out_status = (VmStatus){
		.state = take_text(&outcome.state),
		.agent_ready = (outcome.flags & WIRE_STATUS_AGENT_READY) != 0,
		.can_resize_disk = (outcome.flags & WIRE_STATUS_DISK_RESIZE) != 0,
		.can_switch_disk = (outcome.flags & WIRE_STATUS_DISK_SWITCH) != 0,
		.session = outcome.session,
		.uptime_ms = outcome.uptime_ms,
		.hypervisor = { .pid = (pid_t)outcome.pid, .started = outcome.started },
	};
	return 0;
}

int client_wait_ready(Client *client, Deadline until, Error **err)
{
	auto_outcome Outcome outcome = { 0 };

	/* The deadline is ours: the keeper drops the request when we abort it. */
	if (call(client, WIRE_SERVICE_WAIT_READY, until, &outcome, err) == 0)
		return 0;
	return error_wrap(err, "wait for the guest's agent");
}

int client_stop(Client *client, uint32_t timeout_ms, char **out_reason, Error **err)
{
	auto_outcome Outcome outcome = { 0 };
	WireWriter writer;

	conn_begin(client, &writer, WIRE_SERVICE_STOP);
	wire_put_u32(&writer, WIRE_TAG_TIMEOUT_MS, timeout_ms);
	/* No deadline: the keeper's ladder ends by force. */
	if (conn_call(client, &writer, DEADLINE_NEVER, &outcome, err) < 0)
		return error_wrap(err, "stop the hypervisor");
	if (out_reason)
		*out_reason = take_text(&outcome.state);
	return 0;
}

int client_kill(Client *client, Error **err)
{
	auto_outcome Outcome outcome = { 0 };

	if (call(client, WIRE_SERVICE_KILL, DEADLINE_NEVER, &outcome, err) < 0)
		return error_wrap(err, "kill the hypervisor");
	return 0;
}

int client_pause(Client *client, Deadline until, Error **err)
{
	auto_outcome Outcome outcome = { 0 };

	if (call(client, WIRE_SERVICE_PAUSE, until, &outcome, err) < 0)
		return error_wrap(err, "pause the hypervisor");
	return 0;
}

int client_resume(Client *client, Deadline until, Error **err)
{
	auto_outcome Outcome outcome = { 0 };

	if (call(client, WIRE_SERVICE_RESUME, until, &outcome, err) < 0)
		return error_wrap(err, "resume the hypervisor");
	return 0;
}

int client_disk_resize(Client *client, uint64_t size_bytes, Deadline until, Error **err)
{
	auto_outcome Outcome outcome = { 0 };
	WireWriter writer;

	conn_begin(client, &writer, WIRE_SERVICE_DISK_RESIZE);
	wire_put_u64(&writer, WIRE_TAG_SIZE, size_bytes);
	if (conn_call(client, &writer, until, &outcome, err) < 0)
		return error_wrap(err, "tell the hypervisor");
	return 0;
}

int client_disk_switch(Client *client, const char *overlay, Deadline until, Error **err)
{
	auto_outcome Outcome outcome = { 0 };
	WireWriter writer;

	conn_begin(client, &writer, WIRE_SERVICE_DISK_SWITCH);
	wire_put_text(&writer, WIRE_TAG_PATH, overlay);
	if (conn_call(client, &writer, until, &outcome, err) < 0)
		return error_wrap(err, "tell the hypervisor");
	return 0;
}

int client_resize_fs(Client *client, Deadline until, uint64_t *out_bytes, Error **err)
{
	auto_outcome Outcome outcome = { 0 };

	if (call(client, WIRE_SERVICE_RESIZE_FS, until, &outcome, err) < 0)
		return -1;
	if (!outcome.has_size)
		return conn_breach("an answer without a size", err);
	*out_bytes = outcome.size;
	return 0;
}

int client_ping(Client *client, Deadline until, AgentInfo *out_info, Error **err)
{
	auto_outcome Outcome outcome = { 0 };
	int64_t begin_ns = clock_monotonic_ns();

	if (call(client, WIRE_SERVICE_PING, until, &outcome, err) < 0)
		return error_wrap(err, "ping the guest's agent");
	*out_info = (AgentInfo){
		.version = take_text(&outcome.version),
		.uptime_ms = outcome.uptime_ms,
		.round_trip_ns = clock_monotonic_ns() - begin_ns,
	};
	return 0;
}

/* Ask the agent for a sign of life, which is any byte of it: nobody waits for the answer itself. */
static int poke(Client *client, Deadline until, Error **err)
{
	WireWriter writer;
	uint32_t stream;

	conn_begin(client, &writer, WIRE_SERVICE_PING);
	return conn_request(client, &writer, until, &stream, err);
}

/* Until the next byte: 0, or -1 after a silence of `silence_ms`. */
static int wait_for_life(Client *client, int64_t silence_ms, Error **err)
{
	Deadline silent = deadline_in_ms(silence_ms);
	struct pollfd event = { .fd = client->fd, .events = POLLIN };

	while (!deadline_passed(silent)) {
		auto_error why = NULL;
		Deadline next = deadline_sooner(silent, silence_ms / POKES);

		if (conn_poll(&event, 1, next, &why) == 0)
			return event.revents ? conn_read(client, err) : 0;
		if (error_code(why) != ERR_TIMEOUT) {
			error_move(err, &why);
			return -1;
		}
		if (poke(client, silent, err) < 0)
			return -1;
	}
	return error_set(err, ERR_TIMEOUT, "the guest's agent has been silent for %g s",
			 (double)silence_ms / 1000);
}

static int call_while_alive(Client *client, WireService service, int64_t silence_ms,
			    Outcome *out_outcome, Error **err)
{
	WireWriter writer;
	WireFrame frame;
	uint32_t stream;
	int got;

	conn_begin(client, &writer, service);
	if (conn_request(client, &writer, deadline_in_ms(silence_ms), &stream, err) < 0)
		return -1;
	while ((got = conn_next(client, stream, &frame, err)) <= 0 || frame.type != WIRE_CLOSE) {
		if (got < 0)
			return -1;
		if (got == 0 && wait_for_life(client, silence_ms, err) < 0) {
			conn_abort(client, stream);
			return -1;
		}
	}
	if (conn_outcome(&frame, out_outcome, err) < 0)
		return -1;
	return conn_check(out_outcome, err);
}

int client_trim(Client *client, int64_t silence_ms, uint64_t *out_bytes, Error **err)
{
	auto_outcome Outcome outcome = { 0 };

	if (call_while_alive(client, WIRE_SERVICE_TRIM, silence_ms, &outcome, err) < 0)
		return error_wrap(err, "trim the guest's filesystem");
	if (!outcome.has_size)
		return conn_breach("a trim without a result", err);
	*out_bytes = outcome.size;
	return 0;
}
