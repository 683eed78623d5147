/*
 * What goes out: compressors, whichever there are, and the headers of a tar that no disk of a test is large enough for.
 */
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "image/compress.h"
#include "image/extfs.h"
#include "image/packer.h"
#include "image/tarwrite.h"
#include "test.h"
#include "util/mem.h"

#define DATA_SIZE 300000u

static Error *err;

static uint8_t *make_data(void)
{
	uint8_t *data = xmalloc(DATA_SIZE);
	uint32_t chance = 1;

	for (size_t i = 0; i < DATA_SIZE; i++) {
		chance = chance * 1103515245 + 12345;
		data[i] = i % 3 ? (uint8_t)(i / 100) : (uint8_t)(chance >> 24);
	}
	return data;
}

/* Feed pieces of `in_piece` bytes and take pieces of `out_piece`; returns what came out. */
static size_t squeeze(const CompressLibrary *library, const uint8_t *data, size_t in_piece,
		      size_t out_piece, uint8_t *out, size_t room)
{
	void *stream = library->open();
	size_t fed = 0, taken = 0;

	for (int done = 0; !done;) {
		size_t piece = in_piece < DATA_SIZE - fed ? in_piece : DATA_SIZE - fed;
		CompressStep step = { .in = data + fed,
				      .in_size = piece,
				      .out = out + taken,
				      .out_size = out_piece,
				      .is_last = fed + piece == DATA_SIZE };

		CHECK(taken + out_piece <= room);
		done = library->step(stream, &step, &err);
		CHECK_OK(done < 0 ? -1 : 0, err);
		fed += piece - step.in_size;
		taken += out_piece - step.out_size;
	}
	library->close(stream);
	CHECK(fed == DATA_SIZE);
	return taken;
}

static void test_compressors(void)
{
	static const char *const names[] = { "isa-l", "zlib", "zstd" };
	auto_free uint8_t *data = make_data();
	auto_free uint8_t *out = xmalloc(2 * (size_t)DATA_SIZE);
	auto_free uint8_t *back = xmalloc(DATA_SIZE + 1);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		bool is_zstd = i == 2;
		const CompressLibrary *library =
			compress_library(is_zstd ? COMPRESSION_ZSTD : COMPRESSION_GZIP, names[i]);

		for (size_t piece = 7; library && piece < DATA_SIZE; piece *= 13) {
			size_t size = squeeze(library, data, piece, 1 + 70000 % piece, out,
					      2 * (size_t)DATA_SIZE);
			z_stream stream = { .next_in = out,
					    .avail_in = (uInt)size,
					    .next_out = back,
					    .avail_out = DATA_SIZE + 1 };

			CHECK(size < DATA_SIZE);
			if (is_zstd) {
				CHECK_INT(ZSTD_decompress(back, DATA_SIZE + 1, out, size),
					  DATA_SIZE);
			} else {
				CHECK_INT(inflateInit2(&stream, 15 + 16), Z_OK);
				CHECK_INT(inflate(&stream, Z_FINISH), Z_STREAM_END);
				CHECK_INT(stream.total_out, DATA_SIZE);
				CHECK_INT(stream.avail_in, 0);
				(void)inflateEnd(&stream);
			}
			CHECK(!memcmp(back, data, DATA_SIZE));
		}
	}
	CHECK(compress_library(COMPRESSION_GZIP, NULL) &&
	      !compress_library(COMPRESSION_NONE, NULL));
}

/* The headers of a member, as text of `size` bytes that ends with a NUL. */
static char *headers_of(const TarMember *member, size_t *out_size)
{
	auto_fd fd = memfd_create("tar", MFD_CLOEXEC);
	auto_packer Packer *packer = packer_open(fd, COMPRESSION_NONE);
	auto_packed Packed packed = { 0 };
	char *text;

	CHECK_OK(tar_write_header(packer, member, &err), err);
	CHECK_OK(packer_finish(packer, &packed, &err), err);
	CHECK_STR(packed.digest, packed.diff_id);
	text = xcalloc(packed.size + 1, 1);
	CHECK_INT(pread(fd, text, packed.size, 0), packed.size);
	CHECK_INT(packed.size % 512, 0);
	*out_size = packed.size;
	return text;
}

static void test_large_file(void)
{
	TarMember member = { .type = TAR_FILE, .path = "large", .mode = 0644, .size = 9ull << 30 };
	size_t size;
	auto_free char *text = headers_of(&member, &size);

	CHECK_INT(size, 3 * 512);
	CHECK_INT(text[156], 'x');
	CHECK_STR(text + 512, "19 size=9663676416\n");
	CHECK_STR(text + 1024, "large");
	CHECK_STR(text + 1024 + 124, "00000000000");
	member.size = 077777777777;
	free(steal(&text));
	text = headers_of(&member, &size);
	CHECK_INT(size, 512);
	CHECK_STR(text + 124, "77777777777");
}

static void test_large_hole(void)
{
	const TarPiece pieces[] = { { 12ull << 40, 10 } };
	TarMember member = { .type = TAR_FILE,
			     .path = "hole",
			     .size = 13ull << 40,
			     .pieces = pieces,
			     .piece_count = 1 };
	size_t size;
	auto_free char *text = headers_of(&member, &size);

	CHECK_INT(size, 4 * 512);
	CHECK_STR(text + 512, "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
			      "24 GNU.sparse.name=hole\n38 GNU.sparse.realsize=14293651161088\n");
	CHECK_STR(text + 1024 + 124, "00000001012");
	CHECK_STR(text + 1536, "2\n13194139533312\n10\n14293651161088\n0\n");
}

static void test_times(void)
{
	static const struct {
		int64_t seconds;
		uint32_t nanoseconds;
		const char *record;
	} times[] = {
		{ -1, 999999999, "22 mtime=-0.000000001\n" }, { -1, 0, "12 mtime=-1\n" },
		{ -2, 500000000, "22 mtime=-1.500000000\n" }, { 0, 1, "21 mtime=0.000000001\n" },
		{ 8589934592, 0, "20 mtime=8589934592\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		TarMember member = { .type = TAR_FIFO,
				     .path = "f",
				     .mtime = times[i].seconds,
				     .mtime_ns = times[i].nanoseconds };
		size_t size;
		auto_free char *text = headers_of(&member, &size);

		CHECK_STR(text + 512, times[i].record);
	}
}

static void test_attribute_names(void)
{
	uint8_t value[] = "a\0b";
	ExtXattr items[] = { { (char *)(uintptr_t) "user.k", value, 3 },
			     { (char *)(uintptr_t) "user.x=%", value, 1 },
			     { (char *)(uintptr_t) "user.y=", value, 2 },
			     { (char *)(uintptr_t) "user.z=", value, 3 } };
	ExtXattrs xattrs = { items, ARRAY_SIZE(items) };
	TarMember member = { .type = TAR_DIRECTORY, .path = "d/", .xattrs = &xattrs };
	static const char wanted[] = "27 SCHILY.xattr.user.k=a\0b\n"
				     "36 LIBARCHIVE.xattr.user.x%3D%25=YQ\n"
				     "34 LIBARCHIVE.xattr.user.y%3D=YQA\n"
				     "35 LIBARCHIVE.xattr.user.z%3D=YQBi\n";
	size_t size;
	auto_free char *text = headers_of(&member, &size);

	CHECK_INT(size, 3 * 512);
	CHECK(!memcmp(text + 512, wanted, sizeof(wanted)));
}

TEST_MAIN({ "compressors, in pieces of any size", test_compressors },
	  { "files above 8 GiB", test_large_file }, { "holes above 8 GiB", test_large_hole },
	  { "times before 1970 and after 2242", test_times },
	  { "attributes with '=' in their names", test_attribute_names });
