/*
 * The relay: streams of clients, carried over the one channel to the guest.
 *
 * Frames pass untouched but for their stream id, so credit works from end to end and a stream never
 * has more on the way than its ends have granted. Ids on the channel are this table's indexes + 1;
 * one is free again when the guest has answered CLOSE or RESET, also when its client has gone.
 *
 * A client that does not read only fills its own link's queue, and is dropped when that is full. A
 * guest that does not read makes the clients wait: their frames stay in their sockets.
 */
#pragma once

#include "keeper/channel.h"

typedef struct Stream {
	bool is_open;
	Link *client; /* NULL: gone, or the keeper's own request */
	uint32_t client_id;
	void (*done)(void *arg, bool is_ok); /* the keeper's own request; else NULL */
	void *arg;
} Stream;

typedef struct Relay {
	Channel *channel;
	uint32_t used; /* no stream at or beyond this index is open */
	Stream streams[WIRE_STREAMS_MAX];
} Relay;

/* A frame of a client for a guest's service. False: no room now, deliver it again later. */
bool relay_from_client(Relay *relay, Link *client, const WireFrame *frame);
void relay_from_guest(Relay *relay, const WireFrame *frame);
/* The client has gone: abort what it had under way. */
void relay_drop_client(Relay *relay, const Link *client);
/* The session with the guest is over: so is every stream. */
void relay_reset_all(Relay *relay);

/* A request of the keeper's own, without arguments. False: the agent is not there. */
bool relay_request(Relay *relay, WireService service, void (*done)(void *arg, bool is_ok),
		   void *arg);

/* Answer a client's OPEN in the guest's place. */
void relay_refuse(Link *client, uint32_t stream, WireError error, const char *message);
