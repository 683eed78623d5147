#include <isa-l/igzip_lib.h>
#include <stdlib.h>

#include "image/deflate.h"
#include "util/mem.h"

static void isal_reset(void *arg)
{
	struct inflate_state *state = arg;

	isal_inflate_reset(state);
	state->crc_flag = ISAL_GZIP_NO_HDR;
}

static void *isal_open(void)
{
	struct inflate_state *state = xmalloc(sizeof(*state));

	isal_inflate_init(state);
	isal_reset(state);
	return state;
}

static const char *reason(int status)
{
	switch (status) {
	case ISAL_INVALID_BLOCK:
		return "invalid block";
	case ISAL_INVALID_SYMBOL:
		return "invalid symbol";
	case ISAL_INVALID_LOOKBACK:
		return "invalid distance";
	default:
		return "invalid data";
	}
}

/* It reads ahead in words of 64 bits: whole bytes that are left over belong to what follows. */
static void hand_back(struct inflate_state *state, DeflateInput *input)
{
	uint64_t bits = state->read_in >> (state->read_in_length % 8);

	input->unread_count = 0;
	for (int32_t left = state->read_in_length / 8; left > 0; left--, bits >>= 8)
		input->unread[input->unread_count++] = (unsigned char)bits;
	state->read_in_length = 0;
}

/* It leaves the upper halves of the vector registers in use, which slows down whatever comes after it and is not written
 * for AVX: OpenSSL's SHA-256 by a fifth. */
#ifdef __x86_64__
__attribute__((target("avx"))) static void clear_upper_halves(void)
{
	__builtin_ia32_vzeroupper();
}

static void free_registers(void)
{
	if (__builtin_cpu_supports("avx"))
		clear_upper_halves();
}
#else
static void free_registers(void)
{
}
#endif

static ssize_t isal_run(void *arg, DeflateInput *input, void *out, size_t room, Error **err)
{
	struct inflate_state *state = arg;
	int status;

	state->next_in = (uint8_t *)(uintptr_t)input->data; /* its type lacks the const */
	state->avail_in = (uint32_t)input->size;
	state->next_out = out;
	state->avail_out = (uint32_t)room;
	status = isal_inflate(state);
	free_registers();
	input->data = state->next_in;
	input->size = state->avail_in;
	input->ended = state->block_state == ISAL_BLOCK_FINISH;
	if (status != ISAL_DECOMP_OK)
		return error_set(err, ERR_FAILED, "the gzip stream is damaged: %s", reason(status));
	if (input->ended)
		hand_back(state, input);
	return (ssize_t)(room - state->avail_out);
}

static uint32_t isal_crc(const void *arg)
{
	const struct inflate_state *state = arg;

	return state->crc;
}

const DeflateLibrary deflate_isal = {
	.name = "isa-l",
	.open = isal_open,
	.close = free,
	.reset = isal_reset,
	.run = isal_run,
	.crc = isal_crc,
};
