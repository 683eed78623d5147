/*
 * gzip streams through each of the libraries that ember is built with: whole, in pieces, cut, damaged. What one takes,
 * the other takes; what one refuses, the other refuses.
 */
#include <zlib.h>

#include "image/gzip.h"
#include "test.h"
#include "util/mem.h"
#include "util/str.h"

static Error *err;

/* A member with all the header's fields when `full`. */
static void add_member(Strbuf *out, const void *data, size_t size, int level, bool full)
{
	static unsigned char extra[300];
	unsigned char buffer[1024];
	gz_header header = { .extra = extra,
			     .extra_len = sizeof(extra),
			     .name = (unsigned char *)(uintptr_t) "name",
			     .comment = (unsigned char *)(uintptr_t) "comment",
			     .hcrc = 1 };
	z_stream stream = { 0 };
	int status;

	CHECK(deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	if (full)
		CHECK(deflateSetHeader(&stream, &header) == Z_OK);
	stream.next_in = (unsigned char *)(uintptr_t)data;
	stream.avail_in = (unsigned)size;
	do {
		stream.next_out = buffer;
		stream.avail_out = sizeof(buffer);
		status = deflate(&stream, Z_FINISH);
		strbuf_add(out, (char *)buffer, sizeof(buffer) - stream.avail_out);
	} while (status == Z_OK);
	CHECK(status == Z_STREAM_END);
	(void)deflateEnd(&stream);
}

/* Unpack, the input coming in pieces. 1: it is whole, 0: it is cut, -1: it is damaged. */
static int unpack(const char *library, const Strbuf *in, size_t piece, size_t room, Strbuf *out)
{
	Gzip *gzip = gzip_new(deflate_library(library));
	auto_free char *buffer = xmalloc(room);
	ssize_t got = 0;
	int verdict;

	for (size_t at = 0; at < in->len && got >= 0; at += piece) {
		/* A copy of its own, so that reading past its end shows. */
		size_t left = in->len - at < piece ? in->len - at : piece;
		auto_free unsigned char *copy = xmalloc(left);
		const unsigned char *data = copy;

		memcpy(copy, in->text + at, left);
		do {
			got = gzip_run(gzip, &data, &left, buffer, room, &err);
			if (got > 0)
				strbuf_add(out, buffer, (size_t)got);
		} while (got > 0 || (got == 0 && left > 0));
	}
	verdict = got < 0 ? -1 : gzip_at_end(gzip);
	CHECK((got < 0) == (err != NULL));
	error_clear(&err);
	gzip_free(gzip);
	return verdict;
}

static const char *const libraries[] = { "zlib", NULL };

static void fill(unsigned char *data, size_t size)
{
	uint32_t state = 1;

	for (size_t i = 0; i < size; i++) {
		state = state * 1664525u + 1013904223u;
		data[i] = (unsigned char)(state >> 24 & (i % 5000 < 2500 ? 0xff : 3));
	}
}

/* Two members, stored and packed, with and without fields in their headers. */
static void make_stream(Strbuf *stream, const unsigned char *data, size_t size)
{
	add_member(stream, data, size / 2, 0, true);
	add_member(stream, "", 0, 9, false);
	add_member(stream, data + size / 2, size - size / 2, 6, false);
}

static void test_pieces(void)
{
	static const size_t pieces[] = { 1, 2, 3, 7, 8, 9, 63, 1000, 65536, 1 << 20 };
	static const size_t rooms[] = { 1, 7, 4096, 1 << 20 };
	unsigned char data[100000];
	auto_strbuf Strbuf stream = { 0 };

	fill(data, sizeof(data));
	make_stream(&stream, data, sizeof(data));
	strbuf_add(&stream, "\0\0\0\0", 4);
	for (size_t i = 0; i < ARRAY_SIZE(libraries); i++)
		for (size_t j = 0; j < ARRAY_SIZE(pieces); j++)
			for (size_t k = 0; k < ARRAY_SIZE(rooms); k++) {
				auto_strbuf Strbuf out = { 0 };

				CHECK_INT(unpack(libraries[i], &stream, pieces[j], rooms[k], &out),
					  1);
				CHECK(out.len == sizeof(data) &&
				      !memcmp(out.text, data, sizeof(data)));
			}
}

static void test_cuts(void)
{
	unsigned char data[3000];
	auto_strbuf Strbuf first = { 0 };
	auto_strbuf Strbuf stream = { 0 };

	fill(data, sizeof(data));
	add_member(&first, data, sizeof(data) / 2, 0, true);
	make_stream(&stream, data, sizeof(data));
	for (size_t cut = 1; cut < stream.len; cut++) {
		int verdicts[ARRAY_SIZE(libraries)];

		for (size_t i = 0; i < ARRAY_SIZE(libraries); i++) {
			auto_strbuf Strbuf out = { 0 };
			Strbuf part = { .text = stream.text, .len = cut };

			verdicts[i] = unpack(libraries[i], &part, 4096, 4096, &out);
		}
		CHECK_INT(verdicts[0], verdicts[1]);
		/* Between two members the input may end. */
		CHECK_INT(verdicts[0], cut == first.len || cut == first.len + 20);
	}
}

static void test_flips(void)
{
	unsigned char data[600];
	auto_strbuf Strbuf stream = { 0 };
	unsigned refused = 0;

	fill(data, sizeof(data));
	make_stream(&stream, data, sizeof(data));
	for (size_t bit = 0; bit < 8 * stream.len; bit++) {
		Strbuf outs[ARRAY_SIZE(libraries)] = { 0 };
		int verdicts[ARRAY_SIZE(libraries)];

		stream.text[bit / 8] = (char)(stream.text[bit / 8] ^ 1 << bit % 8);
		for (size_t i = 0; i < ARRAY_SIZE(libraries); i++)
			verdicts[i] = unpack(libraries[i], &stream, 100, 4096, &outs[i]);
		stream.text[bit / 8] = (char)(stream.text[bit / 8] ^ 1 << bit % 8);
		CHECK((verdicts[0] == 1) == (verdicts[1] == 1));
		refused += verdicts[0] != 1;
		if (verdicts[0] == 1)
			CHECK(outs[1].len == sizeof(data) &&
			      !memcmp(outs[1].text, data, sizeof(data)));
		for (size_t i = 0; i < ARRAY_SIZE(libraries); i++)
			strbuf_release(&outs[i]);
	}
	/* Nobody checks the times and systems of three headers, nor what one without a checksum says. */
	CHECK(refused > 8 * (stream.len - 3 * 6));
}

static void test_names(void)
{
	CHECK(deflate_library(NULL) && !deflate_library("gzip"));
	CHECK(str_starts_with(deflate_names, deflate_library(NULL)->name));
}

TEST_MAIN({ "pieces of any size", test_pieces }, { "a cut stream is noticed", test_cuts },
	  { "a flipped bit is noticed", test_flips }, { "names of libraries", test_names })
