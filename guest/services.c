/* The table of services, and those that answer at once. */
#include "services.h"

#include <errno.h>
#include <string.h>

#include "agent.h"
#include "base.h"
#include "identity.h"
#include "power.h"
#include "request.h"

const Service *service_find(unsigned number)
{
	static const Service *const services[] = {
		&ping_service,	   &exec_service,   &put_file_service,	&get_file_service,
		&poweroff_service, &reboot_service, &resize_fs_service, &set_identity_service,
		&trim_service,	   &freeze_service,
	};

	for (size_t i = 0; i < ARRAY_SIZE(services); i++)
		if (services[i]->number == number)
			return services[i];
	return NULL;
}

static void open_ping(Stream *stream, Request *request)
{
	uint8_t buffer[STREAM_ANSWER_MAX];
	WireWriter writer;

	(void)request;
	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_CLOSE, stream->id);
	wire_put_text(&writer, WIRE_TAG_VERSION, EMBER_VERSION);
	wire_put_u64(&writer, WIRE_TAG_UPTIME_MS, now_ms());
	stream_answer(stream, &writer);
}

/* An agent on somebody's desk must not turn the desk off. */
static bool refuse_without_machine(Stream *stream)
{
	if (!stream->agent->is_machine)
		stream_fail(stream, WIRE_ERR_UNSUPPORTED, "this agent does not own its machine");
	return !stream->agent->is_machine;
}

static void open_poweroff(Stream *stream, Request *request)
{
	(void)request;
	if (refuse_without_machine(stream))
		return;
	stream_close(stream);
	agent_request_power(stream->agent, POWER_OFF);
}

static void open_reboot(Stream *stream, Request *request)
{
	(void)request;
	if (refuse_without_machine(stream))
		return;
	stream_close(stream);
	agent_request_power(stream->agent, POWER_REBOOT);
}

static void open_set_identity(Stream *stream, Request *request)
{
	if (refuse_without_machine(stream))
		return;
	if ((request->hostname && !identity_is_hostname(request->hostname)) ||
	    (request->id && !identity_is_id(request->id)))
		stream_fail(stream, WIRE_ERR_BAD_REQUEST, "not a host name or not a UUID");
	else if (identity_apply("", request->hostname, request->id) < 0)
		stream_fail(stream, error_kind(errno), "cannot write the guest's identity: %s",
			    strerror(errno));
	else
		stream_close(stream);
}

const Service ping_service = {
	.number = WIRE_SERVICE_PING,
	.size = sizeof(Stream),
	.open = open_ping,
};

const Service poweroff_service = {
	.number = WIRE_SERVICE_POWEROFF,
	.size = sizeof(Stream),
	.writes = true,
	.open = open_poweroff,
};

const Service reboot_service = {
	.number = WIRE_SERVICE_REBOOT,
	.size = sizeof(Stream),
	.writes = true,
	.open = open_reboot,
};

const Service set_identity_service = {
	.number = WIRE_SERVICE_SET_IDENTITY,
	.size = sizeof(Stream),
	.writes = true,
	.open = open_set_identity,
};
