#include "request.h"

#include <stdlib.h>

/* Texts point into the frame. exec hands them to execve(2), whose prototype lacks the const. */
static int take_text(const WireTlv *tlv, const char **out)
{
	return wire_tlv_text(tlv, out);
}

static int take_item(const WireTlv *tlv, char **items, unsigned *count)
{
	const char *text;

	if (wire_tlv_text(tlv, &text) < 0)
		return -1;
	items[(*count)++] = (char *)(uintptr_t)text;
	return 0;
}

static int take_u32(const WireTlv *tlv, uint32_t *out, bool *out_has)
{
	*out_has = true;
	return wire_tlv_u32(tlv, out);
}

static int take(const WireTlv *tlv, Request *request)
{
	bool ignored;

	switch (tlv->tag) {
	case WIRE_TAG_SERVICE:
		return wire_tlv_u8(tlv, &request->service);
	case WIRE_TAG_ARG:
		return take_item(tlv, request->args, &request->arg_count);
	case WIRE_TAG_ENV:
		return take_item(tlv, request->env, &request->env_count);
	case WIRE_TAG_CWD:
		return take_text(tlv, &request->cwd);
	case WIRE_TAG_USER:
		return take_text(tlv, &request->user);
	case WIRE_TAG_PATH:
		return take_text(tlv, &request->path);
	case WIRE_TAG_NAME:
		return take_text(tlv, &request->name);
	case WIRE_TAG_HOSTNAME:
		return take_text(tlv, &request->hostname);
	case WIRE_TAG_ID:
		return take_text(tlv, &request->id);
	case WIRE_TAG_FLAGS:
		return take_u32(tlv, &request->flags, &ignored);
	case WIRE_TAG_MODE:
		return take_u32(tlv, &request->mode, &request->has_mode);
	case WIRE_TAG_UID:
		return take_u32(tlv, &request->uid, &request->has_uid);
	case WIRE_TAG_GID:
		return take_u32(tlv, &request->gid, &request->has_gid);
	case WIRE_TAG_TIMEOUT_MS:
		return take_u32(tlv, &request->timeout_ms, &ignored);
	case WIRE_TAG_SIZE:
		request->has_size = true;
		return wire_tlv_u64(tlv, &request->size);
	default:
		return 0;
	}
}

/* How many args and variables does the frame have? -1 when its list is malformed. */
static int count_items(const WireFrame *frame, unsigned *args, unsigned *env)
{
	WireReader reader = wire_reader(frame);
	WireTlv tlv;
	int got;

	while ((got = wire_tlv_next(&reader, &tlv)) > 0) {
		*args += tlv.tag == WIRE_TAG_ARG;
		*env += tlv.tag == WIRE_TAG_ENV;
	}
	return got;
}

int request_parse(const WireFrame *frame, Request *out_request)
{
	Request request = { 0 };
	WireReader reader = wire_reader(frame);
	unsigned args = 0, env = 0;
	WireTlv tlv;

	if (count_items(frame, &args, &env) < 0)
		return -1;
	request.args = calloc(args + 1, sizeof(request.args[0]));
	request.env = calloc(env + 1 + REQUEST_ENV_SPARE, sizeof(request.env[0]));
	if (!request.args || !request.env)
		goto fail;
	while (wire_tlv_next(&reader, &tlv) > 0)
		if (take(&tlv, &request) < 0)
			goto fail;
	*out_request = request;
	return 0;
fail:
	request_release(&request);
	return -1;
}

void request_release(Request *request)
{
	free(request->args);
	free(request->env);
	*request = (Request){ 0 };
}
