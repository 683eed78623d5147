/*
 * A link: one connected socket that carries frames (agent/wire.h) both ways, without ever blocking
 * and with a bound on what waits to be sent.
 *
 * The owner decides in link_owner callbacks; it must not release the link inside one of them, but
 * may set `is_dead` at any time, after which nothing more is delivered.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/wire.h"
#include "keeper/loop.h"

typedef struct LinkOwner {
	/* False: not now. The link stops reading and delivers the same frame again on
	 * link_resume(). */
	bool (*frame)(void *arg, const WireFrame *frame);
	void (*malformed)(void *arg);
} LinkOwner;

typedef struct Link {
	Loop *loop;
	Source source;
	const LinkOwner *owner;
	void *arg;
	bool is_dead;	  /* the peer has gone, or broke a rule */
	bool is_held;	  /* `held` waits for link_resume() */
	WireFrame held;	  /* its payload is in the parser */
	size_t queue_max; /* more waiting than this kills the link */
	uint8_t *queue;	  /* what the socket did not take yet */
	size_t queue_begin, queue_end, queue_size;
	WireParser parser; /* large, but touched only as far as it is used */
} Link;

/* Takes `fd`, which must be non-blocking. The memory of `link` may be uninitialised. */
void link_open(Link *link, Loop *loop, int fd, size_t queue_max, const LinkOwner *owner, void *arg);
void link_close(Link *link);
bool link_is_open(const Link *link);

void link_send(Link *link, const WireFrame *frame);
/* Bytes that are frames already (a HELLO, a WireWriter's result, a flush). */
void link_send_bytes(Link *link, const void *bytes, size_t len);
size_t link_queued(const Link *link);
void link_resume(Link *link);
