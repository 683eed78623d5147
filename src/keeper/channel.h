/*
 * The channel to the guest's agent: connects to the hypervisor's end of it, and makes and keeps a
 * session by the HELLO rules of agent/wire.h.
 *
 * A freshly started guest announces itself, so nothing is sent before. Where a guest runs already
 * (adoption) the keeper asks, and asks again behind a flush, since a former keeper may have died in
 * mid-frame. Everything that comes from the guest may be hostile: it can make the keeper start the
 * session again, but not queue or log without end.
 */
#pragma once

#include "keeper/link.h"

typedef enum ChannelState {
	CHANNEL_DOWN,	 /* not connected */
	CHANNEL_WAITING, /* the guest has not said anything */
	CHANNEL_ASKED,	 /* a session was proposed */
	CHANNEL_READY,
	CHANNEL_FOREIGN, /* the guest's agent speaks another version */
} ChannelState;

typedef struct ChannelOwner {
	void (*ready)(void *arg);
	/* The session and all its streams are over. */
	void (*lost)(void *arg);
	/* A frame of a stream. */
	void (*frame)(void *arg, const WireFrame *frame);
} ChannelOwner;

typedef struct Channel {
	Loop *loop;
	const char *socket; /* borrowed */
	const ChannelOwner *owner;
	void *arg;
	ChannelState state;
	uint64_t session;	  /* proposed or running */
	uint32_t foreign_version; /* CHANNEL_FOREIGN */
	int64_t patience_ms;	  /* until the next time we ask */
	Timer ask_again;
	Timer connect_again;
	Link link;
} Channel;

/* `link` of *channel may be uninitialised. `ask_first`: the guest may run already. */
int channel_open(Channel *channel, Loop *loop, const char *socket, bool ask_first,
		 const ChannelOwner *owner, void *arg, Error **err);
void channel_close(Channel *channel);
/* Look after a link that died; call it when no callback runs. */
void channel_tend(Channel *channel);

/* Is there room for one more frame of a client? Control frames may always be sent. */
bool channel_has_room(const Channel *channel);
void channel_send(Channel *channel, const WireFrame *frame);
