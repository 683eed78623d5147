/* What a dm-thin store reads: its label, what the kernel says of a pool, what thin_ls says. Needs no device mapper. */
#include "test.h"

#include <unistd.h>

#include "storage/dm_thin.h"
#include "util/mem.h"

#define MIB	    (1ULL << 20)
#define STORE_BYTES (512 * MIB)

static void test_label(void)
{
	uint8_t data[THIN_LABEL_BYTES];
	ThinLabel label = { .owner = "ember-cd34", .generation = 7, .is_new = true };
	ThinLabel read = { 0 };
	auto_error err = NULL;

	CHECK_FAILS(thin_label_grow(&label, 8 * MIB, &err), err, ERR_USAGE);
	CHECK_OK(thin_label_grow(&label, STORE_BYTES + 5, &err), err);
	CHECK_INT(thin_label_end(&label), STORE_BYTES);
	CHECK_INT(thin_label_bytes(&label, THIN_METADATA), 8 * MIB);
	CHECK_INT(thin_label_bytes(&label, THIN_DATA), STORE_BYTES - 9 * MIB);
	thin_label_format(&label, data);
	CHECK(thin_label_parse(data, &read));
	CHECK_STR(read.owner, "ember-cd34");
	CHECK_INT(read.generation, 7);
	CHECK(read.is_new);
	CHECK_INT(read.count, 2);
	for (size_t at = 0; at < sizeof(data); at += 61) {
		data[at] ^= 1;
		CHECK(!thin_label_parse(data, &read));
		data[at] ^= 1;
	}
	CHECK(thin_label_parse(data, &read));
}

/* Larger stores have more metadata, in pieces; a little more needs no piece. */
static void test_label_grows(void)
{
	ThinLabel label = { .owner = "ember-cd34" };
	auto_error err = NULL;
	size_t pieces;

	CHECK_OK(thin_label_grow(&label, 64ULL << 30, &err), err);
	CHECK_INT(thin_label_bytes(&label, THIN_METADATA), 128 * MIB);
	CHECK_OK(thin_label_grow(&label, 65ULL << 30, &err), err);
	CHECK_INT(label.count, 2);
	CHECK_OK(thin_label_grow(&label, 128ULL << 30, &err), err);
	CHECK_INT(label.count, 4);
	CHECK_INT(thin_label_bytes(&label, THIN_METADATA), 256 * MIB);
	CHECK_INT(thin_label_end(&label), 128ULL << 30);
	for (uint64_t size = 128ULL << 30; size < 1ULL << 60; size *= 2)
		CHECK_OK(thin_label_grow(&label, size * 2, &err), err);
	pieces = label.count;
	CHECK(pieces < THIN_SEGMENTS_MAX);
	/* The kernel uses no more than that. */
	CHECK(thin_label_bytes(&label, THIN_METADATA) <= 16ULL << 30);
}

/* A power cut while one copy is written leaves the other. */
static void test_label_torn(void)
{
	char path[] = "/tmp/ember-label-XXXXXX";
	auto_fd fd = mkstemp(path);
	auto_error err = NULL;
	ThinLabel label = { .owner = "ember-cd34" };
	ThinLabel read = { 0 };

	CHECK(fd >= 0);
	(void)unlink(path);
	CHECK_INT(thin_label_read(fd, &read, &err), 0);
	CHECK_OK(thin_label_grow(&label, STORE_BYTES, &err), err);
	for (int i = 0; i < 3; i++)
		CHECK_OK(thin_label_write(fd, &label, &err), err);
	for (off_t copy = 0; copy < 2; copy++) {
		uint8_t whole[THIN_LABEL_BYTES];

		CHECK_INT(pread(fd, whole, sizeof(whole), copy * THIN_LABEL_BYTES), sizeof(whole));
		CHECK_INT(pwrite(fd, "torn", 4, copy * THIN_LABEL_BYTES + 100), 4);
		CHECK_INT(thin_label_read(fd, &read, &err), 1);
		CHECK_INT(read.generation, 3);
		CHECK_INT(pwrite(fd, whole, sizeof(whole), copy * THIN_LABEL_BYTES), sizeof(whole));
	}
}

static void test_status(void)
{
	ThinStatus status;

	CHECK(thin_status_parse("0 12/2048 5/8048 - rw discard_passdown error_if_no_space - 1024",
				&status));
	CHECK_INT(status.metadata_used_blocks, 12);
	CHECK_INT(status.data_blocks, 8048);
	CHECK(status.is_writable && !status.is_full && !status.has_snapshot);
	CHECK(thin_status_parse("1 12/2048 8048/8048 77 out_of_data_space discard_passdown "
				"error_if_no_space needs_check 1024",
				&status));
	CHECK(status.is_writable && status.is_full && status.has_snapshot);
	CHECK(thin_status_parse("1 12/2048 48/8048 - ro no_discard_passdown queue_if_no_space -",
				&status));
	CHECK(!status.is_writable);
	CHECK(!thin_status_parse("Fail", &status));
	CHECK(!thin_status_parse("Error", &status));
	CHECK(!thin_status_parse("0 12/2048 9/8 - rw", &status));
	CHECK(!thin_status_parse("", &status));
}

static void test_map(void)
{
	auto_thin_map ThinMap map = { 0 };
	ThinMap none = { 0 };

	CHECK(thin_map_parse("  1  300   20\n\n 16777215 7 0\n", &map));
	CHECK_INT(map.count, 2);
	CHECK_INT(map.items[0].mapped_blocks, 300);
	CHECK_INT(map.items[1].id, THIN_ID_MAX);
	CHECK(!thin_map_parse("1 2 3\nDEV MAPPED\n", &none));
	CHECK(!thin_map_parse("16777216 1 1\n", &none));
	CHECK(!thin_map_parse("1 2\n", &none));
	CHECK(!thin_map_parse("1 2 3000\n", &none));
	CHECK(thin_map_parse("", &none));
	thin_map_release(&none);
}

int main(void)
{
	static const Test tests[] = {
		{ "the label, there and back", test_label },
		{ "the layout of a store that grows", test_label_grows },
		{ "a torn label", test_label_torn },
		{ "what the kernel says of a pool", test_status },
		{ "what thin_ls says", test_map },
	};

	return test_main(tests, ARRAY_SIZE(tests));
}
