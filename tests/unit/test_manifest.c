#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "ops/image_manifest.h"
#include "util/mem.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static json_t *parse(const char *text)
{
	json_t *doc = NULL;

	CHECK(json_parse_text(text, strlen(text), &doc, NULL) == 0);
	return doc;
}

static void test_digests(void)
{
	CHECK_STR(manifest_digest_hex(A), &A[7]);
	CHECK(!manifest_digest_hex(NULL));
	CHECK(!manifest_digest_hex("sha256:../../../etc/passwd"));
	CHECK(!manifest_digest_hex(A "a"));
	CHECK(!manifest_digest_hex("sha512:aa"));
	CHECK(!manifest_digest_hex(
		"sha256:"
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
}

static void test_manifest(void)
{
	auto_manifest Manifest manifest = { 0 };
	auto_manifest Manifest none = { 0 };
	auto_error err = NULL;
	json_auto_t *doc = parse("{\"config\":{\"digest\":\"" A "\",\"size\":5},"
				 "\"layers\":[{\"digest\":\"" B "\",\"size\":7}]}");
	json_auto_t *broken = parse("{\"config\":{\"digest\":\"" A "\",\"size\":5},"
				    "\"layers\":[{\"digest\":\"" B "\"}]}");

	CHECK(!manifest_is_index(doc));
	CHECK(manifest_from_json(doc, &manifest, NULL) == 0);
	CHECK(manifest.count == 2 && manifest.blobs[0].size_bytes == 5);
	CHECK_STR(manifest.blobs[1].digest, B);
	CHECK(manifest_from_json(broken, &none, &err) < 0);
	CHECK(err && !none.blobs);
}

static void check_pick(const json_t *index, const char *platform, const char *tag, const char *want)
{
	auto_free char *got = manifest_pick(index, platform, tag);

	CHECK(str_equal(got, want));
}

static void test_platforms(void)
{
	json_auto_t *index = parse(
		"{\"manifests\":["
		"{\"digest\":\"" A "\",\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\","
		"\"variant\":\"v8\"}},"
		"{\"digest\":\"" B
		"\",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}}]}");

	CHECK(manifest_is_index(index));
	check_pick(index, "linux/amd64", NULL, B);
	check_pick(index, "linux/arm64", NULL, A);
	check_pick(index, "linux/arm64/v8", NULL, A);
	check_pick(index, "linux/arm64/v7", NULL, NULL);
	check_pick(index, "linux/s390x", NULL, NULL);
	/* Nothing there has a tag. */
	check_pick(index, "linux/amd64", "latest", NULL);
}

static void test_tags(void)
{
	json_auto_t *layout =
		parse("{\"manifests\":["
		      "{\"digest\":\"" A
		      "\",\"annotations\":{\"org.opencontainers.image.ref.name\":\"one\"}},"
		      "{\"digest\":\"" B
		      "\",\"annotations\":{\"org.opencontainers.image.ref.name\":\"two\"}}]}");
	json_auto_t *evil = parse("{\"manifests\":[{\"digest\":\"sha256:../../up\"}]}");

	check_pick(layout, "linux/amd64", "one", A);
	check_pick(layout, "linux/amd64", "two", B);
	check_pick(layout, "linux/amd64", "three", NULL);
	/* Which of two is meant cannot be told. */
	check_pick(layout, "linux/amd64", NULL, NULL);
	check_pick(evil, "linux/amd64", NULL, NULL);
}

TEST_MAIN({ "digests that may be part of a path", test_digests },
	  { "the blobs of a manifest", test_manifest }, { "an index's platforms", test_platforms },
	  { "a layout's tags", test_tags })
