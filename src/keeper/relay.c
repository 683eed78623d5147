#include "keeper/relay.h"

#define ANSWER_MAX 512

void relay_refuse(Link *client, uint32_t stream, WireError error, const char *message)
{
	uint8_t buffer[ANSWER_MAX];
	WireWriter writer;

	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_CLOSE, stream);
	wire_put_u8(&writer, WIRE_TAG_ERROR, (uint8_t)error);
	wire_put_text(&writer, WIRE_TAG_MESSAGE, message);
	link_send_bytes(client, buffer, wire_writer_finish(&writer));
}

static Stream *find_stream(Relay *relay, const Link *client, uint32_t client_id)
{
	for (uint32_t i = 0; i < relay->used; i++) {
		Stream *stream = &relay->streams[i];

		if (stream->is_open && stream->client == client && stream->client_id == client_id)
			return stream;
	}
	return NULL;
}

static Stream *new_stream(Relay *relay)
{
	for (uint32_t i = 0; i < WIRE_STREAMS_MAX; i++) {
		if (relay->streams[i].is_open)
			continue;
		if (i >= relay->used)
			relay->used = i + 1;
		relay->streams[i] = (Stream){ .is_open = true };
		return &relay->streams[i];
	}
	return NULL;
}

static void end_stream(Relay *relay, Stream *stream)
{
	*stream = (Stream){ 0 };
	while (relay->used > 0 && !relay->streams[relay->used - 1].is_open)
		relay->used--;
}

static uint32_t guest_id(const Relay *relay, const Stream *stream)
{
	return (uint32_t)(stream - relay->streams) + 1;
}

static void send_to_guest(Relay *relay, const Stream *stream, const WireFrame *frame)
{
	WireFrame renamed = *frame;

	renamed.stream = guest_id(relay, stream);
	channel_send(relay->channel, &renamed);
}

static void open_stream(Relay *relay, Link *client, const WireFrame *frame)
{
	Stream *stream;

	if (relay->channel->state == CHANNEL_FOREIGN) {
		relay_refuse(client, frame->stream, WIRE_ERR_UNSUPPORTED,
			     "the guest's agent is of another version than this ember");
		return;
	}
	if (relay->channel->state != CHANNEL_READY) {
		relay_refuse(client, frame->stream, WIRE_ERR_STATE,
			     "the guest's agent does not answer yet");
		return;
	}
	stream = new_stream(relay);
	if (!stream) {
		relay_refuse(client, frame->stream, WIRE_ERR_BUSY, "too many requests at a time");
		return;
	}
	stream->client = client;
	stream->client_id = frame->stream;
	send_to_guest(relay, stream, frame);
}

bool relay_from_client(Relay *relay, Link *client, const WireFrame *frame)
{
	const Stream *stream = find_stream(relay, client, frame->stream);

	if (frame->type == WIRE_OPEN && stream) {
		client->is_dead = true; /* it uses an id twice */
		return true;
	}
	/* A stream that is not there any more: the frame crossed with its end. */
	if (frame->type != WIRE_OPEN && !stream)
		return true;
	if (!channel_has_room(relay->channel))
		return false;
	if (frame->type == WIRE_OPEN)
		open_stream(relay, client, frame);
	else
		send_to_guest(relay, stream, frame);
	return true;
}

/* Did a CLOSE tell of success? */
static bool close_is_ok(const WireFrame *frame)
{
	WireReader reader = wire_reader(frame);
	WireTlv tlv;

	if (frame->type != WIRE_CLOSE)
		return false;
	while (wire_tlv_next(&reader, &tlv) > 0)
		if (tlv.tag == WIRE_TAG_ERROR)
			return false;
	return true;
}

void relay_from_guest(Relay *relay, const WireFrame *frame)
{
	bool is_end = frame->type == WIRE_CLOSE || frame->type == WIRE_RESET;
	WireFrame renamed = *frame;
	Stream *stream, copy;

	if (frame->stream > relay->used || !relay->streams[frame->stream - 1].is_open)
		return;
	/* What only a host may send stays here. */
	if (!is_end && frame->type != WIRE_INFO && frame->type != WIRE_DATA &&
	    frame->type != WIRE_WINDOW_ADD)
		return;
	stream = &relay->streams[frame->stream - 1];
	copy = *stream;
	if (is_end)
		end_stream(relay, stream);
	if (copy.client) {
		renamed.stream = copy.client_id;
		link_send(copy.client, &renamed);
	} else if (is_end && copy.done) {
		copy.done(copy.arg, close_is_ok(frame));
	}
}

void relay_drop_client(Relay *relay, const Link *client)
{
	for (uint32_t i = 0; i < relay->used; i++) {
		Stream *stream = &relay->streams[i];
		WireFrame reset = { .type = WIRE_RESET };

		if (!stream->is_open || stream->client != client)
			continue;
		stream->client = NULL;
		send_to_guest(relay, stream, &reset);
	}
}

void relay_reset_all(Relay *relay)
{
	for (uint32_t i = 0; i < relay->used; i++) {
		Stream stream = relay->streams[i];
		WireFrame reset = { .type = WIRE_RESET, .stream = stream.client_id };

		relay->streams[i] = (Stream){ 0 };
		if (stream.client)
			link_send(stream.client, &reset);
		else if (stream.done)
			stream.done(stream.arg, false);
	}
	relay->used = 0;
}

bool relay_request(Relay *relay, WireService service, void (*done)(void *arg, bool is_ok),
		   void *arg)
{
	uint8_t buffer[WIRE_HEADER_SIZE + WIRE_TLV_HEADER_SIZE + 1];
	WireWriter writer;
	Stream *stream = relay->channel->state == CHANNEL_READY ? new_stream(relay) : NULL;

	if (!stream)
		return false;
	stream->done = done;
	stream->arg = arg;
	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_OPEN, guest_id(relay, stream));
	wire_put_u8(&writer, WIRE_TAG_SERVICE, (uint8_t)service);
	link_send_bytes(&relay->channel->link, buffer, wire_writer_finish(&writer));
	return true;
}
