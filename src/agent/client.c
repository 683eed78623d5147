#include "agent/client.h"

#include <limits.h>

#include "agent/conn.h"
#include "util/mem.h"

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
