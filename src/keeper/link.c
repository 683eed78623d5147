#include "keeper/link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "util/mem.h"

/* A queue that has emptied gives its memory back when it was larger. */
#define QUEUE_KEEP 16384

size_t link_queued(const Link *link)
{
	return link->queue_end - link->queue_begin;
}

bool link_is_open(const Link *link)
{
	return link->source.fd >= 0 && !link->is_dead;
}

static void update_events(Link *link)
{
	link->source.events =
		(short)((link->is_held ? 0 : POLLIN) | (link_queued(link) > 0 ? POLLOUT : 0));
}

static void enqueue(Link *link, const void *bytes, size_t len)
{
	size_t queued = link_queued(link);

	if (len == 0)
		return;
	if (queued + len > link->queue_max) {
		link->is_dead = true;
		return;
	}
	if (link->queue_begin > 0) {
		memmove(link->queue, link->queue + link->queue_begin, queued);
		link->queue_begin = 0;
		link->queue_end = queued;
	}
	if (queued + len > link->queue_size) {
		size_t size = link->queue_size ? link->queue_size : QUEUE_KEEP;

		while (size < queued + len)
			size *= 2;
		link->queue = xreallocarray(link->queue, size, 1);
		link->queue_size = size;
	}
	memcpy(link->queue + queued, bytes, len);
	link->queue_end += len;
}

/* iovec has no const, but sending does not write. */
static struct iovec part_of(const void *bytes, size_t len)
{
	return (struct iovec){ .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
}

/* Send what the socket takes at once, queue the rest; order is kept. */
static void send_parts(Link *link, const struct iovec *parts, size_t count)
{
	struct msghdr message = { .msg_iovlen = count };
	struct iovec copies[2];
	ssize_t sent = 0;

	if (!link_is_open(link))
		return;
	memcpy(copies, parts, count * sizeof(*parts));
	message.msg_iov = copies;
	if (link_queued(link) == 0) {
		sent = sendmsg(link->source.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno != EAGAIN && errno != EINTR) {
			link->is_dead = true;
			return;
		}
		if (sent < 0)
			sent = 0;
	}
	for (size_t i = 0; i < count; i++) {
		size_t skip = (size_t)sent < parts[i].iov_len ? (size_t)sent : parts[i].iov_len;

		enqueue(link, (const uint8_t *)parts[i].iov_base + skip, parts[i].iov_len - skip);
		sent -= (ssize_t)skip;
	}
	update_events(link);
}

void link_send_bytes(Link *link, const void *bytes, size_t len)
{
	struct iovec part = part_of(bytes, len);

	send_parts(link, &part, 1);
}

void link_send(Link *link, const WireFrame *frame)
{
	uint8_t header[WIRE_HEADER_SIZE];
	struct iovec parts[2];

	wire_pack_header(header, frame);
	parts[0] = part_of(header, sizeof(header));
	parts[1] = part_of(frame->payload, frame->length);
	send_parts(link, parts, frame->length > 0 ? 2 : 1);
}

static void flush_queue(Link *link)
{
	ssize_t sent = send(link->source.fd, link->queue + link->queue_begin, link_queued(link),
			    MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0) {
		link->is_dead = errno != EAGAIN && errno != EINTR;
		return;
	}
	link->queue_begin += (size_t)sent;
	if (link_queued(link) > 0)
		return;
	link->queue_begin = link->queue_end = 0;
	if (link->queue_size > QUEUE_KEEP) {
		free(steal(&link->queue));
		link->queue_size = 0;
	}
}

static void deliver(Link *link)
{
	while (!link->is_dead) {
		if (!link->is_held) {
			WireGot got = wire_parser_next(&link->parser, &link->held);

			if (got == WIRE_NEED_MORE)
				break;
			if (got == WIRE_MALFORMED) {
				link->owner->malformed(link->arg);
				continue;
			}
		}
		link->is_held = !link->owner->frame(link->arg, &link->held);
		if (link->is_held)
			break;
	}
	update_events(link);
}

void link_resume(Link *link)
{
	if (link->is_held && link_is_open(link))
		deliver(link);
}

static void read_more(Link *link)
{
	uint8_t *at;
	size_t room = wire_parser_space(&link->parser, &at);
	ssize_t got = recv(link->source.fd, at, room, MSG_DONTWAIT);

	if (got < 0) {
		link->is_dead = errno != EAGAIN && errno != EINTR;
		return;
	}
	if (got == 0) {
		link->is_dead = true;
		return;
	}
	wire_parser_fed(&link->parser, (size_t)got);
	deliver(link);
}

static void on_ready(void *arg, short revents)
{
	Link *link = arg;

	if (link->is_dead)
		return;
	if ((revents & POLLOUT) && link_queued(link) > 0)
		flush_queue(link);
	if (!link->is_dead && (revents & POLLIN) && !link->is_held)
		read_more(link);
	else if (revents & (POLLERR | POLLHUP | POLLNVAL))
		link->is_dead = true; /* nothing left to read, or nobody to answer */
	update_events(link);
}

void link_open(Link *link, Loop *loop, int fd, size_t queue_max, const LinkOwner *owner, void *arg)
{
	link->loop = loop;
	link->source = (Source){ .fd = fd, .events = POLLIN, .ready = on_ready, .arg = link };
	link->owner = owner;
	link->arg = arg;
	link->is_dead = link->is_held = false;
	link->queue_max = queue_max;
	link->queue = NULL;
	link->queue_begin = link->queue_end = link->queue_size = 0;
	wire_parser_init(&link->parser);
	loop_add(loop, &link->source);
}

void link_close(Link *link)
{
	if (link->source.fd < 0)
		return;
	loop_remove(link->loop, &link->source);
	close_fd(&link->source.fd);
	free(steal(&link->queue));
	link->queue_begin = link->queue_end = link->queue_size = 0;
	link->is_dead = true;
}
