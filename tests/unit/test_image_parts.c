/*
 * The builder's parts that know nothing of trees: free blocks, digests, streams, tar headers, OCI documents.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "image/blob.h"
#include "image/blockmap.h"
#include "image/digest.h"
#include "image/events.h"
#include "image/oci.h"
#include "image/source.h"
#include "image/tarcheck.h"
#include "image/xattr.h"
#include "test.h"
#include "util/json.h"
#include "util/mem.h"

static Error *err;

static void test_blocks(void)
{
	auto_blockmap BlockMap map = { 0 };
	BlockRun run = { 0 };
	BlockRuns used = { 0 };
	uint64_t at = 0;

	blockmap_allow(&map, 10, 10);
	blockmap_allow(&map, 30, 10);
	CHECK_OK(blockmap_take(&map, 4, &run, &err), err);
	CHECK(run.start == 10 && run.count == 4);
	CHECK_OK(blockmap_take_whole(&map, 8, &at, &err), err);
	CHECK_INT(at, 30);
	CHECK_OK(blockmap_take(&map, 100, &run, &err), err);
	CHECK(run.start == 14 && run.count == 6);
	CHECK_INT(map.high_water, 38);
	blockmap_return(&map, 10, 4);
	CHECK_INT(blockmap_free(&map), 6);
	CHECK_OK(blockmap_take(&map, 3, &run, &err), err);
	CHECK(run.start == 38 && run.count == 2);
	/* The end is reached: what was returned comes next. */
	CHECK_OK(blockmap_take(&map, 3, &run, &err), err);
	CHECK(run.start == 10 && run.count == 3);
	CHECK_FAILS(blockmap_take_whole(&map, 2, &at, &err), err, ERR_UNSUPPORTED);
	blockmap_used(&map, &used);
	CHECK_INT(used.count, 3);
	CHECK(used.items[0].start == 10 && used.items[0].count == 3);
	CHECK(used.items[1].start == 14 && used.items[1].count == 6);
	CHECK(used.items[2].start == 30 && used.items[2].count == 10);
	free(used.items);
}

static void test_digests(void)
{
	static const char empty[] =
		"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	static const char *const bad[] = { "", "sha256:", "md5:d41d8cd98f00b204e9800998ecf8427e",
					   "sha256:../../../etc/passwd" };
	char upper[sizeof(empty)];
	Hasher hasher;

	CHECK(digest_is_valid(empty) && !digest_is_valid(NULL));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK(!digest_is_valid(bad[i]));
	memcpy(upper, empty, sizeof(empty));
	upper[7] = 'E';
	CHECK(!digest_is_valid(upper));
	hasher_init(&hasher, empty);
	auto_free char *digest = hasher_finish(&hasher);

	CHECK_STR(digest, empty);
}

/* A blob of these bytes; returns what it unpacks to, or NULL. */
static char *unpack(const void *data, size_t size, Compression compression, size_t *out_size)
{
	auto_fd fd = memfd_create("blob", MFD_CLOEXEC);
	BlobSpec spec = { .fd = fd, .compression = compression, .size = size };
	BlobMeter meter = { .bytes_left = 1 << 20 };
	auto_blob Blob *blob = blob_open(&spec, &meter);
	auto_strbuf Strbuf all = { 0 };
	auto_free char *diff_id = NULL;
	const void *part;
	ssize_t got;

	CHECK(write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
	while ((got = blob_read(blob, &part, &err)) > 0)
		strbuf_add(&all, part, (size_t)got);
	if (got < 0)
		return NULL;
	CHECK_OK(blob_finish(blob, &diff_id, &err), err);
	*out_size = all.len;
	return strbuf_take(&all);
}

static size_t compress_gzip(const char *text, unsigned char *out, size_t room)
{
	z_stream stream = { 0 };

	CHECK(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	stream.next_in = (unsigned char *)(uintptr_t)text;
	stream.avail_in = (unsigned)strlen(text);
	stream.next_out = out;
	stream.avail_out = (unsigned)room;
	CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
	size_t size = stream.total_out;

	(void)deflateEnd(&stream);
	return size;
}

static void test_gzip_members(void)
{
	unsigned char data[512] = { 0 };
	size_t first = compress_gzip("hello ", data, sizeof(data));
	size_t both = first + compress_gzip("world", data + first, sizeof(data) - first);
	size_t size = 0;
	auto_free char *text = unpack(data, both, COMPRESSION_GZIP, &size);

	CHECK(size == 11 && !strcmp(text, "hello world"));
	auto_free char *padded = unpack(data, both + 50, COMPRESSION_GUESS, &size);

	CHECK(size == 11 && !strcmp(padded, "hello world"));
	for (size_t cut = 1; cut < first; cut++) {
		CHECK(!unpack(data, cut, COMPRESSION_GZIP, &size));
		error_clear(&err);
	}
	data[both + 20] = 'x';
	CHECK(!unpack(data, both + 50, COMPRESSION_GZIP, &size));
	error_clear(&err);
	CHECK(!unpack(data, both, COMPRESSION_ZSTD, &size));
	CHECK_CONTAINS(error_text(err), "media type");
	error_clear(&err);
}

/* A ustar header of an empty or small member. */
static void make_header(unsigned char *block, const char *name, char type, unsigned size)
{
	unsigned sum = 0;

	memset(block, 0, TAR_BLOCK);
	(void)snprintf((char *)block, 100, "%s", name);
	(void)snprintf((char *)block + 124, 12, "%011o", size);
	block[156] = (unsigned char)type;
	memcpy(block + 257, "ustar\00000", 8);
	memset(block + 148, ' ', 8);
	for (unsigned i = 0; i < TAR_BLOCK; i++)
		sum += block[i];
	(void)snprintf((char *)block + 148, 8, "%06o", sum);
}

static int check_tar(const unsigned char *data, size_t size, size_t piece)
{
	auto_tarcheck TarCheck check = { 0 };

	for (size_t at = 0; at < size; at += piece)
		if (tarcheck_feed(&check, data + at, size - at < piece ? size - at : piece, &err) <
		    0)
			return -1;
	return tarcheck_end(&check, &err);
}

static void test_tar_pieces(void)
{
	unsigned char tar[8 * TAR_BLOCK] = { 0 };

	make_header(tar, "pax", 'x', 20);
	memcpy(tar + TAR_BLOCK, "20 path=some/member\n", 20);
	make_header(tar + 2 * TAR_BLOCK, "member", '0', 600);
	for (size_t piece = 1; piece < sizeof(tar); piece += 37)
		CHECK_OK(check_tar(tar, sizeof(tar), piece), err);
	CHECK_OK(check_tar(tar, 5 * TAR_BLOCK, 100), err);
	CHECK_FAILS(check_tar(tar, 4 * TAR_BLOCK, 100), err, ERR_FAILED);
	CHECK_FAILS(check_tar(tar, 2 * TAR_BLOCK, 100), err, ERR_FAILED);
	tar[TAR_BLOCK + 10] = '\0';
	CHECK_FAILS(check_tar(tar, sizeof(tar), 100), err, ERR_FAILED);
	tar[TAR_BLOCK] = '9';
	CHECK_FAILS(check_tar(tar, sizeof(tar), 100), err, ERR_FAILED);
}

static void test_tar_types(void)
{
	unsigned char tar[TAR_BLOCK];

	for (int type = 1; type < 128; type++) {
		make_header(tar, "m", (char)type, 0);
		if (strchr("01234567SVg", type)) {
			CHECK_OK(check_tar(tar, sizeof(tar), 512), err);
		} else {
			CHECK(check_tar(tar, sizeof(tar), 512) < 0);
			error_clear(&err);
		}
	}
	make_header(tar, "m", '0', 0);
	tar[0] ^= 1;
	CHECK_FAILS(check_tar(tar, sizeof(tar), 512), err, ERR_FAILED);
}

static void test_config(void)
{
	static const char text[] =
		"{\"created\":\"2024-02-29T01:02:03.5Z\",\"os\":\"linux\",\"architecture\":\"amd64\","
		"\"config\":{\"Cmd\":[\"sh\"],\"Entrypoint\":null,\"Labels\":{\"a\":\"b\"}}}";
	auto_config OciConfig config = { 0 };

	CHECK_OK(oci_parse_config(text, strlen(text), &config, &err), err);
	CHECK_INT(config.created, 1709168523);
	json_auto_t *doc = image_config_to_json(&config.run);
	auto_free char *run = json_text(doc);

	CHECK_CONTAINS(run, "\"cmd\":[\"sh\"]");
	CHECK_CONTAINS(run, "\"labels\":{\"a\":\"b\"}");
	CHECK_CONTAINS(run, "\"entrypoint\":[]");
}

static void test_platforms(void)
{
	static const char *const bad[] = { "",	     "linux",	  "linux/",
					   "/amd64", "linux//v8", "linux/arm/" };
	auto_platform Platform platform = { 0 };
	auto_platform Platform host = { 0 };

	CHECK_OK(platform_parse("linux/arm64/v8", &platform, &err), err);
	CHECK_STR(platform.architecture, "arm64");
	CHECK_STR(platform.variant, "v8");
	CHECK_OK(platform_parse(NULL, &host, &err), err);
	CHECK_STR(host.os, "linux");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		Platform none = { 0 };

		CHECK_FAILS(platform_parse(bad[i], &none, &err), err, ERR_USAGE);
	}
}

static void test_safe_text(void)
{
	char text[] = "a\tb\x7f"
		      "c\xc3\xa9\xc2\x85\xff\xed\xa0\x80\xf0\x9f\x98\x80";

	CHECK_STR(text_make_safe(text), "a?b?c\xc3\xa9"
					"??"
					"?"
					"???"
					"\xf0\x9f\x98\x80");
}

static void test_xattrs(void)
{
	static const unsigned char acl[12] = { 2, 0, 0, 0, 1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff };
	auto_inode Inode *inode = inode_new(S_IFREG);
	XattrVerdict verdict;

	CHECK_OK(xattr_accept(inode, "user.a", "1", 1, &verdict, &err), err);
	CHECK_OK(xattr_accept(inode, "user.a", "22", 2, &verdict, &err), err);
	CHECK_OK(xattr_accept(inode, "system.posix_acl_access", acl, 12, &verdict, &err), err);
	CHECK_INT(verdict, XATTR_KEPT);
	CHECK_OK(xattr_accept(inode, "system.nfs4_acl", "", 0, &verdict, &err), err);
	CHECK_INT(verdict, XATTR_DROPPED);
	CHECK_INT(inode->xattrs->count, 2);
	CHECK_INT(inode->xattrs->items[0].size, 2);
	CHECK_FAILS(xattr_accept(inode, "security.", "", 0, &verdict, &err), err, ERR_FAILED);
	for (size_t size = 0; size < sizeof(acl); size++)
		if (size != 4)
			CHECK_FAILS(xattr_accept(inode, "system.posix_acl_default", acl, size,
						 &verdict, &err),
				    err, ERR_FAILED);
}

TEST_MAIN({ "free blocks", test_blocks }, { "digests", test_digests },
	  { "gzip members and padding", test_gzip_members },
	  { "a tar in pieces of any size", test_tar_pieces },
	  { "types of tar members", test_tar_types }, { "a config", test_config },
	  { "platforms", test_platforms }, { "text is made safe", test_safe_text },
	  { "extended attributes", test_xattrs });
