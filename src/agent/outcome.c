#include "agent/conn.h"

#include <string.h>

#include "util/mem.h"
#include "util/str.h"

void outcome_release(Outcome *outcome)
{
	free(outcome->message);
	free(outcome->state);
	free(outcome->version);
	*outcome = (Outcome){ 0 };
}

/* The guest's words: short, and unable to drive a terminal. */
static int take_text(const WireTlv *tlv, char **owned)
{
	const char *text;

	if (wire_tlv_text(tlv, &text) < 0)
		return -1;
	free(*owned);
	*owned = str_make_printable(xstrndup(text, CLIENT_MESSAGE_MAX));
	return 0;
}

/* A size or a time, which is signed wherever it goes from here: in files, in JSON. */
static int take_amount(const WireTlv *tlv, uint64_t *out_amount)
{
	uint64_t amount;

	if (wire_tlv_u64(tlv, &amount) < 0 || amount > INT64_MAX)
		return -1;
	*out_amount = amount;
	return 0;
}

static int take_tlv(const WireTlv *tlv, Outcome *outcome)
{
	switch ((WireTag)tlv->tag) {
	case WIRE_TAG_ERROR:
		outcome->has_error = true;
		return wire_tlv_u8(tlv, &outcome->error);
	case WIRE_TAG_STATUS:
		outcome->has_status = true;
		return wire_tlv_u32(tlv, &outcome->status);
	case WIRE_TAG_SIGNAL:
		outcome->has_signal = true;
		return wire_tlv_u32(tlv, &outcome->signal);
	case WIRE_TAG_SIZE:
		outcome->has_size = true;
		return take_amount(tlv, &outcome->size);
	case WIRE_TAG_FLAGS:
		return wire_tlv_u32(tlv, &outcome->flags);
	case WIRE_TAG_PID:
		return wire_tlv_u32(tlv, &outcome->pid);
	case WIRE_TAG_MODE:
		return wire_tlv_u32(tlv, &outcome->mode);
	case WIRE_TAG_UID:
		return wire_tlv_u32(tlv, &outcome->uid);
	case WIRE_TAG_GID:
		return wire_tlv_u32(tlv, &outcome->gid);
	case WIRE_TAG_STARTED:
		return take_amount(tlv, &outcome->started);
	case WIRE_TAG_SESSION:
		return wire_tlv_u64(tlv, &outcome->session);
	case WIRE_TAG_HELD_US:
		return take_amount(tlv, &outcome->held_us);
	case WIRE_TAG_UPTIME_MS:
		return take_amount(tlv, &outcome->uptime_ms);
	case WIRE_TAG_MTIME:
		return wire_tlv_u64(tlv, &outcome->mtime);
	case WIRE_TAG_MESSAGE:
		return take_text(tlv, &outcome->message);
	case WIRE_TAG_STATE:
		return take_text(tlv, &outcome->state);
	case WIRE_TAG_VERSION:
		return take_text(tlv, &outcome->version);
	case WIRE_TAG_SERVICE:
	case WIRE_TAG_ARG:
	case WIRE_TAG_ENV:
	case WIRE_TAG_CWD:
	case WIRE_TAG_USER:
	case WIRE_TAG_PATH:
	case WIRE_TAG_NAME:
	case WIRE_TAG_HOSTNAME:
	case WIRE_TAG_ID:
	case WIRE_TAG_TIMEOUT_MS:
		break; /* of requests only */
	}
	return 0;
}

int conn_outcome(const WireFrame *frame, Outcome *out_outcome, Error **err)
{
	WireReader reader = wire_reader(frame);
	auto_outcome Outcome outcome = { 0 };
	WireTlv tlv;
	int more;

	while ((more = wire_tlv_next(&reader, &tlv)) > 0)
		if (take_tlv(&tlv, &outcome) < 0)
			return conn_breach("an answer with a value that cannot be", err);
	if (more < 0)
		return conn_breach("a malformed answer", err);
	*out_outcome = outcome;
	outcome = (Outcome){ 0 };
	return 0;
}

static ErrorCode code_of(uint8_t error)
{
	switch ((WireError)error) {
	case WIRE_ERR_UNSUPPORTED:
		return ERR_UNSUPPORTED;
	case WIRE_ERR_NOT_FOUND:
	case WIRE_ERR_BAD_USER:
	case WIRE_ERR_BAD_CWD:
		return ERR_NOT_FOUND;
	case WIRE_ERR_DENIED:
		return ERR_DENIED;
	case WIRE_ERR_IS_DIRECTORY:
	case WIRE_ERR_NOT_REGULAR:
		return ERR_USAGE;
	case WIRE_ERR_BUSY:
		return ERR_BUSY;
	case WIRE_ERR_STATE:
		return ERR_STATE;
	case WIRE_ERR_TIMEOUT:
		return ERR_TIMEOUT;
	case WIRE_ERR_FAILED:
	case WIRE_ERR_BAD_REQUEST:
	case WIRE_ERR_NOT_EXECUTABLE:
	case WIRE_ERR_NO_SPACE:
		break;
	}
	return ERR_FAILED;
}

int conn_check(const Outcome *outcome, Error **err)
{
	if (!outcome->has_error)
		return 0;
	if (outcome->message)
		error_set(err, code_of(outcome->error), "%s", outcome->message);
	else
		error_set(err, code_of(outcome->error), "the guest's agent answered '%s'",
			  wire_error_name(outcome->error));
	if (outcome->error == WIRE_ERR_STATE)
		error_hint(err, "see what the VM is doing: ember vm list, ember vm logs");
	return -1;
}
