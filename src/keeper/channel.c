#include "keeper/channel.h"

#include "keeper/log.h"
#include "keeper/sockets.h"
#include "util/mem.h"
#include "util/os.h"

/* Frames of clients wait in their sockets while this much waits for the guest... */
#define QUEUE_SOFT ((size_t)256 * 1024)
/* ...so that a frame, a flush and an end of every stream always fit. */
#define QUEUE_MAX (QUEUE_SOFT + (size_t)4 * WIRE_FRAME_MAX)
/* A guest that says HELLO faster than it reads our answers waits for the patience timer. */
#define HELLO_QUEUE_MAX 4096
#define PATIENCE_MS_MAX 8000
#define RECONNECT_MS	100
/* After garbage: not at once, so that a guest cannot keep us busy. */
#define GARBAGE_MS 50

static const uint8_t flush_zeros[WIRE_FLUSH_SIZE];

static void lose_session(Channel *channel, ChannelState state)
{
	bool was_ready = channel->state == CHANNEL_READY;

	channel->state = state;
	if (was_ready) {
		log_line("the guest's agent has ended its session");
		channel->owner->lost(channel->arg);
	}
}

/* Propose a new session. */
static void ask(Channel *channel)
{
	WireHello hello = { .version = WIRE_VERSION, .step = WIRE_STEP_REQUEST };
	uint8_t frame[WIRE_HEADER_SIZE + WIRE_HELLO_SIZE];

	if (link_queued(&channel->link) <= HELLO_QUEUE_MAX) {
		os_random(&channel->session, sizeof(channel->session));
		hello.session = channel->session;
		link_send_bytes(&channel->link, frame, wire_pack_hello(frame, &hello));
	}
	channel->state = CHANNEL_ASKED;
	loop_set_timer(channel->loop, &channel->ask_again, deadline_in_ms(channel->patience_ms));
}

static void on_ask_again(void *arg)
{
	Channel *channel = arg;

	if (!link_is_open(&channel->link))
		return;
	/* While something waits, the hypervisor has not even taken the last proposal. */
	if (channel->state == CHANNEL_ASKED && link_queued(&channel->link) == 0)
		link_send_bytes(&channel->link, flush_zeros, sizeof(flush_zeros));
	if (channel->patience_ms < PATIENCE_MS_MAX)
		channel->patience_ms *= 2;
	ask(channel);
}

static void on_hello(Channel *channel, const WireHello *hello)
{
	if (hello->version != WIRE_VERSION) {
		lose_session(channel, CHANNEL_FOREIGN);
		channel->foreign_version = hello->version;
		loop_drop_timer(channel->loop, &channel->ask_again);
		return;
	}
	if (hello->step == WIRE_STEP_ANNOUNCE) {
		lose_session(channel, CHANNEL_WAITING);
		ask(channel);
	} else if (hello->step == WIRE_STEP_ACCEPT && channel->state == CHANNEL_ASKED &&
		   hello->session == channel->session) {
		loop_drop_timer(channel->loop, &channel->ask_again);
		channel->patience_ms = WIRE_HELLO_PATIENCE_MS;
		channel->state = CHANNEL_READY;
		log_line("the guest's agent is ready");
		channel->owner->ready(channel->arg);
	}
}

static bool on_frame(void *arg, const WireFrame *frame)
{
	Channel *channel = arg;
	WireHello hello;

	if (frame->type == WIRE_HELLO) {
		wire_unpack_hello(frame, &hello);
		on_hello(channel, &hello);
	} else if (channel->state != CHANNEL_READY) {
		return true; /* of a session that is over */
	} else if (frame->type == WIRE_PING) {
		WireFrame pong = *frame;

		pong.type = WIRE_PONG;
		if (channel_has_room(channel))
			link_send(&channel->link, &pong);
	} else if (frame->stream != 0) {
		channel->owner->frame(channel->arg, frame);
	}
	return true; /* the host always reads: see agent/wire.h, Credit */
}

static void on_malformed(void *arg)
{
	Channel *channel = arg;

	lose_session(channel, CHANNEL_WAITING);
	loop_set_timer(channel->loop, &channel->ask_again, deadline_in_ms(GARBAGE_MS));
}

static const LinkOwner link_owner = { .frame = on_frame, .malformed = on_malformed };

static int connect_link(Channel *channel, Error **err)
{
	int fd;

	if (socket_connect(channel->socket, &fd, err) < 0)
		return -1;
	link_open(&channel->link, channel->loop, fd, QUEUE_MAX, &link_owner, channel);
	channel->state = CHANNEL_WAITING;
	channel->patience_ms = WIRE_HELLO_PATIENCE_MS;
	return 0;
}

static void on_connect_again(void *arg)
{
	Channel *channel = arg;

	/* The hypervisor listens again when it has seen the former connection end. */
	if (connect_link(channel, NULL) < 0)
		loop_set_timer(channel->loop, &channel->connect_again,
			       deadline_in_ms(RECONNECT_MS));
	else
		ask(channel);
}

int channel_open(Channel *channel, Loop *loop, const char *socket, bool ask_first,
		 const ChannelOwner *owner, void *arg, Error **err)
{
	channel->loop = loop;
	channel->socket = socket;
	channel->owner = owner;
	channel->arg = arg;
	channel->state = CHANNEL_DOWN;
	channel->ask_again = (Timer){ .fired = on_ask_again, .arg = channel };
	channel->connect_again = (Timer){ .fired = on_connect_again, .arg = channel };
	channel->link.source.fd = -1;
	if (connect_link(channel, err) < 0)
		return -1;
	if (ask_first)
		ask(channel);
	return 0;
}

void channel_close(Channel *channel)
{
	loop_drop_timer(channel->loop, &channel->ask_again);
	loop_drop_timer(channel->loop, &channel->connect_again);
	link_close(&channel->link);
	lose_session(channel, CHANNEL_DOWN);
}

void channel_tend(Channel *channel)
{
	if (channel->link.source.fd < 0 || !channel->link.is_dead)
		return;
	channel_close(channel);
	loop_set_timer(channel->loop, &channel->connect_again, deadline_in_ms(RECONNECT_MS));
}

bool channel_has_room(const Channel *channel)
{
	return link_queued(&channel->link) < QUEUE_SOFT;
}

void channel_send(Channel *channel, const WireFrame *frame)
{
	link_send(&channel->link, frame);
}
