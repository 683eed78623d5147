#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base.h"
#include "port.h"
#include "request.h"
#include "resize.h"
#include "services.h"
#include "uevent.h"

/* Where the loop looks again, should an announcement or a SIGIO have been lost. */
#define LOOK_AGAIN_MS 1000
/* How long the answer to `poweroff` may take to leave. */
#define POWER_PATIENCE_MS 500
/* Reads of the channel between two rounds of steps; a virtio port gives a page at a time. */
#define READS_PER_ROUND 32

enum { FD_SIGNALS, FD_DEVICES, FD_CHANNEL, FD_STREAMS };

static void send_hello(Agent *agent, WireStep step, uint64_t session)
{
	uint8_t frame[WIRE_HEADER_SIZE + WIRE_HELLO_SIZE];
	WireHello hello = { .version = WIRE_VERSION, .step = step, .session = session };

	output_bytes(&agent->out, frame, wire_pack_hello(frame, &hello));
}

static void send_reset(Agent *agent, uint32_t id)
{
	output_frame(&agent->out, (WireFrame){ .type = WIRE_RESET, .stream = id });
}

static void free_stream(Agent *agent, Stream **link)
{
	Stream *stream = *link;

	*link = stream->next;
	agent->stream_count--;
	if (stream->service->drop)
		stream->service->drop(stream);
	free(stream);
}

static Stream **find_stream(Agent *agent, uint32_t id)
{
	Stream **link = &agent->streams;

	while (*link && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

static void drop_session(Agent *agent)
{
	agent->session = 0;
	/* First of all, so that those who clean up on their disk do not wait for long. */
	if (agent->freeze)
		agent->freeze->service->drop(agent->freeze);
	held_clear(&agent->held);
	while (agent->streams)
		free_stream(agent, &agent->streams);
}

static void handle_hello(Agent *agent, const WireFrame *frame)
{
	WireHello hello;

	wire_unpack_hello(frame, &hello);
	if (hello.step != WIRE_STEP_REQUEST)
		return;
	drop_session(agent);
	if (hello.version == WIRE_VERSION)
		agent->session = hello.session;
	send_hello(agent, WIRE_STEP_ACCEPT, hello.session);
}

/* Answer an OPEN that gets no stream. */
static void refuse(Agent *agent, uint32_t id, WireError kind, const char *message)
{
	Stream stream = { .agent = agent, .out = &agent->out, .id = id };

	stream_fail(&stream, kind, "%s", message);
}

static void start_service(Agent *agent, uint32_t id, Request *request)
{
	const Service *service = service_find(request->service);
	Stream *stream;

	if (!service) {
		refuse(agent, id, WIRE_ERR_UNSUPPORTED, "this guest agent has no such service");
		return;
	}
	stream = calloc(1, service->size);
	if (!stream) {
		refuse(agent, id, WIRE_ERR_BUSY, "the guest is out of memory");
		return;
	}
	*stream = (Stream){
		.service = service,
		.agent = agent,
		.out = &agent->out,
		.next = agent->streams,
		.id = id,
		.send_credit = WIRE_WINDOW,
		.receive_credit = WIRE_WINDOW,
	};
	agent->streams = stream;
	agent->stream_count++;
	service->open(stream, request);
}

static void handle_open(Agent *agent, const WireFrame *frame)
{
	Request request = { 0 };

	if (*find_stream(agent, frame->stream)) {
		/* Two streams of one id cannot be told apart any more. */
		free_stream(agent, find_stream(agent, frame->stream));
		send_reset(agent, frame->stream);
	} else if (agent->stream_count + agent->victim_count >= WIRE_STREAMS_MAX) {
		refuse(agent, frame->stream, WIRE_ERR_BUSY, "too many requests at once");
	} else if (request_parse(frame, &request) < 0) {
		refuse(agent, frame->stream, WIRE_ERR_BAD_REQUEST, "malformed request");
	} else {
		start_service(agent, frame->stream, &request);
		request_release(&request);
	}
}

/* False when the host broke a rule: the stream is to be reset. */
static bool handle_stream_frame(Stream *stream, const WireFrame *frame)
{
	const Service *service = stream->service;

	switch (frame->type) {
	case WIRE_DATA:
		if (!service->data || stream->host_eof || frame->channel != WIRE_CHANNEL_MAIN ||
		    frame->length > stream->receive_credit)
			return false;
		stream->receive_credit -= frame->length;
		service->data(stream, frame->payload, frame->length);
		return true;
	case WIRE_EOF:
		if (stream->host_eof)
			return false;
		stream->host_eof = true;
		if (service->eof)
			service->eof(stream);
		return true;
	case WIRE_WINDOW_ADD:
		if (wire_get_u32(frame->payload) > WIRE_WINDOW_MAX - stream->send_credit)
			return false;
		stream->send_credit += wire_get_u32(frame->payload);
		return true;
	default: /* RESET, and what only a guest may say */
		return false;
	}
}

static void handle_request_frame(Agent *agent, const WireFrame *frame)
{
	Stream **link;

	if (frame->type == WIRE_OPEN) {
		handle_open(agent, frame);
		return;
	}
	link = find_stream(agent, frame->stream);
	if (!*link || (*link)->is_over)
		return;
	if (!handle_stream_frame(*link, frame)) {
		free_stream(agent, link);
		send_reset(agent, frame->stream);
	}
}

/* Does an OPEN ask for a service that writes to the disk? */
static bool opens_writer(const WireFrame *frame)
{
	WireReader reader = wire_reader(frame);
	const Service *service;
	uint8_t number;
	WireTlv tlv;

	if (wire_tlv_next(&reader, &tlv) <= 0 || tlv.tag != WIRE_TAG_SERVICE ||
	    wire_tlv_u8(&tlv, &number) < 0)
		return false;
	service = service_find(number);
	return service && service->writes;
}

/* May it do nothing now? */
static bool must_rest(const Agent *agent, const Stream *stream)
{
	return agent->freeze && stream->service->writes;
}

/* Must it wait for the thaw, or behind one of its stream that waits? */
static bool must_wait(Agent *agent, const WireFrame *frame)
{
	const Stream *stream = *find_stream(agent, frame->stream);

	if (held_has(&agent->held, frame->stream))
		return true;
	if (stream && must_rest(agent, stream))
		return true;
	return agent->freeze && frame->type == WIRE_OPEN && opens_writer(frame);
}

/* False when memory ran out. */
static bool hold_frame(Agent *agent, const WireFrame *frame)
{
	if (!held_push(&agent->held, frame))
		return false;
	if (agent->freeze && agent->held.bytes >= HELD_MAX)
		freeze_cut(agent->freeze);
	return true;
}

static void handle_frame(Agent *agent, const WireFrame *frame)
{
	if (frame->type == WIRE_HELLO) {
		handle_hello(agent, frame);
	} else if (agent->session == 0) {
		return;
	} else if (frame->type == WIRE_PING) {
		WireFrame pong = *frame;

		pong.type = WIRE_PONG;
		output_frame(&agent->out, pong);
	} else if (!must_wait(agent, frame)) {
		handle_request_frame(agent, frame);
	} else if (!hold_frame(agent, frame)) {
		/* Without its frame the stream is lost, and it cannot be dropped while its disk is frozen. */
		drop_session(agent);
		send_hello(agent, WIRE_STEP_ANNOUNCE, 0);
	}
}

/* What had to wait for the thaw. */
static void handle_held(Agent *agent)
{
	WireFrame frame;
	HeldFrame *held;

	while (!agent->freeze && output_can_answer(&agent->out) &&
	       (held = held_pop(&agent->held, &frame)) != NULL) {
		handle_request_frame(agent, &frame);
		free(held);
	}
}

static bool can_take_frames(const Agent *agent)
{
	return output_can_answer(&agent->out) && agent->held.bytes < HELD_MAX;
}

/* Handle what has been received as long as there is room for answers. */
static void handle_frames(Agent *agent)
{
	WireFrame frame;
	WireGot got;

	while (can_take_frames(agent) &&
	       (got = wire_parser_next(&agent->parser, &frame)) != WIRE_NEED_MORE) {
		if (got == WIRE_GOT_FRAME) {
			handle_frame(agent, &frame);
		} else {
			drop_session(agent);
			send_hello(agent, WIRE_STEP_ANNOUNCE, 0);
		}
	}
}

static void lose_host(Agent *agent)
{
	drop_session(agent);
	output_clear(&agent->out);
	agent->has_host = false;
	if (agent->is_machine)
		port_notify(agent->channel, true);
	else
		close_fd(&agent->channel);
}

static void read_channel(Agent *agent)
{
	for (int i = 0; i < READS_PER_ROUND && agent->has_host; i++) {
		uint8_t *at;
		size_t room = wire_parser_space(&agent->parser, &at);
		ssize_t got;

		if (room == 0)
			return; /* full of frames that wait for room in the output */
		got = read(agent->channel, at, room);
		if (got > 0) {
			wire_parser_fed(&agent->parser, (size_t)got);
			handle_frames(agent);
		} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
			lose_host(agent);
		} else {
			return;
		}
	}
}

/* Find the port, and find out whether a host is there. */
static void look_for_host(Agent *agent)
{
	struct pollfd look = { .events = POLLOUT };

	if (agent->channel < 0) {
		agent->channel = port_open(agent->devices);
		if (agent->channel < 0)
			return;
		port_notify(agent->channel, true);
	}
	look.fd = agent->channel;
	if (poll(&look, 1, 0) < 0 || look.revents & POLLHUP)
		return;
	if (look.revents & (POLLERR | POLLNVAL)) {
		close_fd(&agent->channel); /* the device was unplugged */
		return;
	}
	port_notify(agent->channel, false);
	agent->has_host = true;
	wire_parser_init(&agent->parser);
	output_clear(&agent->out);
	send_hello(agent, WIRE_STEP_ANNOUNCE, 0);
}

static void take_signals(Agent *agent)
{
	struct signalfd_siginfo info;

	while (read(agent->signals, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo == SIGCHLD)
			agent->child_died = true;
}

/* A disk that is larger than it was: nobody can ask us to grow what is on it while the machine stands still or the host's
 * end of the channel is gone. */
static void attend_disk(Agent *agent)
{
	auto_fd report = -1; /* nobody waits for it */

	if (!agent->has_news || agent->freeze) /* growing is writing */
		return;
	agent->has_news = false;
	if (resize_is_due("/", &agent->root_bytes))
		(void)resize_start("/", &report);
}

void agent_end_group(Agent *agent, pid_t leader)
{
	(void)kill(-leader, SIGHUP);
	(void)kill(-leader, SIGCONT);
	agent->victims[agent->victim_count++] = (Victim){
		.leader = leader,
		.deadline_ms = now_ms() + WIRE_KILL_DELAY_MS,
	};
}

/* Kill what outlived its reset stream, and reap its leader. */
static void attend_victims(Agent *agent)
{
	uint64_t now = now_ms();

	for (unsigned i = 0; i < agent->victim_count;) {
		Victim *victim = &agent->victims[i];

		if (!victim->is_killed && now >= victim->deadline_ms) {
			(void)kill(-victim->leader, SIGKILL);
			victim->is_killed = true;
		}
		if (victim->is_killed && waitpid(victim->leader, NULL, WNOHANG) != 0)
			*victim = agent->victims[--agent->victim_count];
		else
			i++;
	}
}

static unsigned collect_fds(Agent *agent, bool *out_ready)
{
	struct pollfd *fds = agent->fds;
	unsigned count = FD_STREAMS;

	fds[FD_SIGNALS] = (struct pollfd){ .fd = agent->signals, .events = POLLIN };
	fds[FD_DEVICES] = (struct pollfd){ .fd = agent->devices, .events = POLLIN };
	fds[FD_CHANNEL] = (struct pollfd){ .fd = -1 };
	if (agent->has_host) {
		fds[FD_CHANNEL].fd = agent->channel;
		if (can_take_frames(agent))
			fds[FD_CHANNEL].events |= POLLIN;
		if (!output_is_empty(&agent->out))
			fds[FD_CHANNEL].events |= POLLOUT;
	}
	for (Stream *stream = agent->streams; stream; stream = stream->next) {
		stream->fds = fds + count;
		stream->fd_count = 0;
		if (stream->service->poll && !must_rest(agent, stream))
			stream->fd_count = stream->service->poll(stream, stream->fds, out_ready);
		count += stream->fd_count;
	}
	return count;
}

static int time_to_wait(const Agent *agent, bool ready)
{
	uint64_t now = now_ms(), until = UINT64_MAX;

	if (ready)
		return 0;
	if (!agent->has_host)
		until = now + LOOK_AGAIN_MS;
	if (agent->power != POWER_NOTHING && agent->power_deadline_ms < until)
		until = agent->power_deadline_ms;
	for (unsigned i = 0; i < agent->victim_count; i++)
		if (!agent->victims[i].is_killed && agent->victims[i].deadline_ms < until)
			until = agent->victims[i].deadline_ms;
	if (until == UINT64_MAX)
		return -1;
	return until > now ? (int)(until - now) : 0;
}

/* Take turns at the output: who came first in one round comes last in the next. */
static void rotate_streams(Agent *agent)
{
	Stream *first = agent->streams, *last = first;

	if (!first || !first->next)
		return;
	while (last->next)
		last = last->next;
	agent->streams = first->next;
	first->next = NULL;
	last->next = first;
}

static void step_streams(Agent *agent)
{
	bool all_stepped = true;

	rotate_streams(agent);
	for (Stream **link = &agent->streams; *link;) {
		Stream *stream = *link;

		if (!output_can_answer(&agent->out))
			all_stepped = false;
		else if (!stream->is_over && stream->service->step && !must_rest(agent, stream))
			stream->service->step(stream, stream->fds, stream->fd_count);
		stream_consumed(stream, 0);
		if (stream->is_over)
			free_stream(agent, link);
		else
			link = &stream->next;
	}
	if (all_stepped)
		agent->child_died = false;
}

static void attend_power(Agent *agent)
{
	if (agent->power == POWER_NOTHING)
		return;
	if (!output_is_empty(&agent->out) && now_ms() < agent->power_deadline_ms)
		return;
	power_request(agent->power);
	agent->power = POWER_NOTHING;
}

void agent_request_power(Agent *agent, PowerAction action)
{
	agent->power = action;
	agent->power_deadline_ms = now_ms() + POWER_PATIENCE_MS;
}

static void serve_round(Agent *agent)
{
	bool ready = false;
	unsigned count;

	if (!agent->has_host)
		look_for_host(agent);
	count = collect_fds(agent, &ready);
	if (poll(agent->fds, count, time_to_wait(agent, ready)) < 0)
		return; /* EINTR, or no memory now */
	if (agent->fds[FD_SIGNALS].revents)
		take_signals(agent);
	if (agent->fds[FD_DEVICES].revents) {
		uevent_drain(agent->devices);
		agent->has_news = true;
	}
	attend_disk(agent);
	attend_victims(agent);
	step_streams(agent);
	if (agent->fds[FD_CHANNEL].revents & (POLLHUP | POLLERR))
		lose_host(agent);
	handle_held(agent);
	if (agent->has_host) {
		handle_frames(agent);
		if (agent->fds[FD_CHANNEL].revents & POLLIN)
			read_channel(agent);
	}
	if (agent->has_host && output_flush(&agent->out, agent->channel) < 0)
		lose_host(agent);
	attend_power(agent);
}

static int watch_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set,
			SIGPIPE); /* blocked, never taken; children begin with nothing blocked */
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGIO);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)sigdelset(&set, SIGPIPE);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int agent_run(int channel)
{
	Agent *agent = calloc(1, sizeof(*agent));

	if (!agent)
		return -1;
	(void)umask(022);
	agent->channel = channel;
	agent->is_machine = channel < 0;
	agent->devices = agent->is_machine ? uevent_open() : -1;
	agent->has_news = agent->is_machine; /* the disk may have grown since the boot began */
	agent->signals = watch_signals();
	if (agent->signals < 0) {
		free(agent);
		return -1;
	}
	if (!agent->is_machine) {
		(void)fcntl(channel, F_SETFL, O_NONBLOCK);
		(void)fcntl(channel, F_SETFD, FD_CLOEXEC);
		agent->has_host = true;
		send_hello(agent, WIRE_STEP_ANNOUNCE, 0);
	}
	while (agent->is_machine || agent->has_host)
		serve_round(agent);
	close_fd(&agent->signals);
	free(agent);
	return 0;
}
