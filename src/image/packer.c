#include "image/packer.h"

#include <stdbool.h>
#include <string.h>

#include "image/compress.h"
#include "image/digest.h"
#include "util/fs.h"
#include "util/mem.h"

/* In the middle of what caches hold: each byte is looked at by two hashes and a compressor. */
#define IN_SIZE	 (256u << 10)
#define OUT_SIZE (256u << 10)

struct Packer {
	int fd;
	const CompressLibrary *library; /* NULL: as it is */
	void *stream;
	Hasher in_hasher;
	Hasher out_hasher; /* unused without a library: both digests are one */
	uint64_t position;
	uint64_t written;
	size_t in_used;
	size_t out_used;
	uint8_t in[IN_SIZE];
	uint8_t out[OUT_SIZE];
};

Packer *packer_open(int fd, Compression compression)
{
	Packer *packer = xmalloc(sizeof(*packer));

	packer->fd = fd;
	packer->position = 0;
	packer->written = 0;
	packer->in_used = 0;
	packer->out_used = 0;
	packer->library = compress_library(compression, NULL);
	packer->stream = packer->library ? packer->library->open() : NULL;
	hasher_init(&packer->in_hasher, NULL);
	hasher_init(&packer->out_hasher, NULL);
	return packer;
}

void packer_close(Packer *packer)
{
	if (!packer)
		return;
	if (packer->library)
		packer->library->close(packer->stream);
	hasher_release(&packer->in_hasher);
	hasher_release(&packer->out_hasher);
	free(packer);
}

static int write_out(Packer *packer, const uint8_t *data, size_t size, Error **err)
{
	packer->written += size;
	if (fs_write_all(packer->fd, data, size, err) == 0)
		return 0;
	error_wrap(err, "write the output");
	return error_hint(err, "see whether there is room: df -h");
}

static int flush_out(Packer *packer, Error **err)
{
	size_t size = packer->out_used;

	packer->out_used = 0;
	hasher_add(&packer->out_hasher, packer->out, size);
	return write_out(packer, packer->out, size, err);
}

static int compress_in(Packer *packer, bool is_last, Error **err)
{
	CompressStep step = { .in = packer->in, .in_size = packer->in_used, .is_last = is_last };

	for (;;) {
		int done;

		step.out = packer->out + packer->out_used;
		step.out_size = OUT_SIZE - packer->out_used;
		done = packer->library->step(packer->stream, &step, err);
		if (done < 0)
			return -1;
		packer->out_used = OUT_SIZE - step.out_size;
		if (done || (!is_last && step.in_size == 0 && step.out_size > 0))
			return 0;
		if (step.out_size == 0 && flush_out(packer, err) < 0)
			return -1;
	}
}

static int flush_in(Packer *packer, bool is_last, Error **err)
{
	int result;

	hasher_add(&packer->in_hasher, packer->in, packer->in_used);
	result = packer->library ? compress_in(packer, is_last, err)
				 : write_out(packer, packer->in, packer->in_used, err);
	packer->in_used = 0;
	return result;
}

int packer_room(Packer *packer, uint8_t **out_room, size_t *out_size, Error **err)
{
	if (packer->in_used == IN_SIZE && flush_in(packer, false, err) < 0)
		return -1;
	*out_room = packer->in + packer->in_used;
	*out_size = IN_SIZE - packer->in_used;
	return 0;
}

void packer_advance(Packer *packer, size_t size)
{
	packer->in_used += size;
	packer->position += size;
}

int packer_add(Packer *packer, const void *data, size_t size, Error **err)
{
	const uint8_t *bytes = data;

	while (size > 0) {
		uint8_t *room;
		size_t part;

		if (packer_room(packer, &room, &part, err) < 0)
			return -1;
		if (part > size)
			part = size;
		memcpy(room, bytes, part);
		packer_advance(packer, part);
		bytes += part;
		size -= part;
	}
	return 0;
}

int packer_add_zeros(Packer *packer, uint64_t size, Error **err)
{
	while (size > 0) {
		uint8_t *room;
		size_t part;

		if (packer_room(packer, &room, &part, err) < 0)
			return -1;
		if (part > size)
			part = size;
		memset(room, 0, part);
		packer_advance(packer, part);
		size -= part;
	}
	return 0;
}

uint64_t packer_position(const Packer *packer)
{
	return packer->position;
}

int packer_finish(Packer *packer, Packed *out, Error **err)
{
	if (flush_in(packer, true, err) < 0 || (packer->library && flush_out(packer, err) < 0))
		return -1;
	out->diff_id = hasher_finish(&packer->in_hasher);
	out->digest = packer->library ? hasher_finish(&packer->out_hasher) : xstrdup(out->diff_id);
	out->size = packer->written;
	return 0;
}

void packed_release(Packed *packed)
{
	free(packed->digest);
	free(packed->diff_id);
	*packed = (Packed){ 0 };
}
