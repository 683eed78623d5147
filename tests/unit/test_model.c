#include "test.h"

#include "model/image.h"
#include "model/oci.h"
#include "model/size.h"
#include "model/snapshot.h"
#include "model/uuid.h"
#include "model/vm.h"
#include "util/mem.h"

static void test_names(void)
{
	static const char *const good[] = { "a", "web-1", "0x", "a.b_c-d" };
	static const char *const bad[] = { "",	  "../x", "-rf",	 ".a",	"A",
					   "a/b", "a b",  "caf\xc3\xa9", "a:b", "_x" };
	auto_free char *longest = xcalloc(65, 1);

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		CHECK_INT(name_check("vm", good[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_error err = NULL;

		CHECK_FAILS(name_check("vm", bad[i], &err), err, ERR_USAGE);
	}
	memset(longest, 'a', 63);
	CHECK_INT(name_check("vm", longest, NULL), 0);
	longest[63] = 'a';
	CHECK_INT(name_check("vm", longest, NULL), -1);
}

static void test_snapshot_names(void)
{
	static const char *const bad[] = { "@", "web@", "@a", "web@a@b", "web@../a", "Web@a", "" };
	auto_free char *vm = NULL;
	auto_free char *snapshot = NULL;
	auto_error err = NULL;

	CHECK_OK(snapshot_split("web@before", &vm, &snapshot, &err), err);
	CHECK_STR(vm, "web");
	CHECK_STR(snapshot, "before");
	free(steal(&vm));
	free(steal(&snapshot));
	CHECK_OK(snapshot_split("web", &vm, &snapshot, &err), err);
	CHECK_STR(vm, "web");
	CHECK(!snapshot);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_error problem = NULL;

		CHECK_FAILS(snapshot_split(bad[i], &vm, &snapshot, &problem), problem, ERR_USAGE);
	}
	CHECK_OK(snapshot_name_check("base-1", &err), err);
	CHECK_FAILS(snapshot_name_check("base", &err), err, ERR_USAGE);
}

static void test_sizes(void)
{
	static const char *const bad[] = {
		"",    "0G",  "1.5G", "512", "10MB", "-1G",	  "G",
		"1GG", "1 G", "+1G",  "1Gi", "0x1G", "99999999T", "18446744073709551616G"
	};
	uint64_t value = 0;

	CHECK_INT(size_parse("--size", "512M", &value, NULL), 0);
	CHECK(value == 512 * MIB);
	CHECK_INT(size_parse("--size", "4gib", &value, NULL), 0);
	CHECK(value == 4 * GIB);
	CHECK_INT(size_parse("--size", "2T", &value, NULL), 0);
	CHECK(value == 2 * TIB);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_error err = NULL;

		CHECK_FAILS(size_parse("--size", bad[i], &value, &err), err, ERR_USAGE);
	}
	CHECK_INT(size_parse_mib("--size", "1025K", &value, NULL), -1);
	CHECK_INT(size_parse_mib("--size", "1024K", &value, NULL), 0);
	CHECK_INT(value, 1);
}

static void test_size_text(void)
{
	auto_free char *a = size_text(0);
	auto_free char *b = size_text(1536 * MIB);
	auto_free char *c = size_text(512 * MIB);

	CHECK_STR(a, "0 B");
	CHECK_STR(b, "1.5 GiB");
	CHECK_STR(c, "512 MiB");
}

static void check_reference(const char *text, const char *full, const char *local)
{
	CLEANUP(image_ref_release) ImageRef ref = { 0 };
	auto_error err = NULL;
	auto_free char *shown = NULL;
	auto_free char *name = NULL;

	CHECK_OK(image_ref_parse(text, &ref, &err), err);
	shown = image_ref_text(&ref);
	name = image_ref_local_name(&ref);
	CHECK_STR(shown, full);
	CHECK_STR(name, local);
	CHECK_INT(name_check("image", name, NULL), 0);
}

static void test_references(void)
{
	static const char *const bad[] = {
		"",	"A/b",	  "a//b",     "-a",	      "a:",	      "a@sha256:12", "a:-x",
		"../x", "x/../y", "oci:/x:1", "localhost:/x", "http://a.b/c", "https://a"
	};

	check_reference("alpine", "docker.io/library/alpine:latest", "library-alpine-latest");
	check_reference("ghcr.io/a/b:1", "ghcr.io/a/b:1", "ghcr.io-a-b-1");
	check_reference("127.0.0.1:5000/x:y", "127.0.0.1:5000/x:y", "127.0.0.1-5000-x-y");
	check_reference("me/app:V1", "docker.io/me/app:V1", "me-app-v1");
	check_reference(
		"a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"docker.io/library/a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"library-a-0123456789ab");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CLEANUP(image_ref_release) ImageRef ref = { 0 };
		auto_error err = NULL;

		CHECK_FAILS(image_ref_parse(bad[i], &ref, &err), err, ERR_USAGE);
	}
}

/* What was accepted in short is accepted in full: the full form is what counts. */
static void test_long_references(void)
{
	static const char around[] = "docker.io/library/:latest";
	const int most = 512 - (int)strlen(around);

	for (int extra = 0; extra <= 1; extra++) {
		CLEANUP(image_ref_release) ImageRef ref = { 0 };
		auto_error err = NULL;
		auto_free char *text = xasprintf("docker://%0*d", most + extra, 0);

		if (extra)
			CHECK_FAILS(image_ref_parse(text, &ref, &err), err, ERR_USAGE);
		else
			CHECK_OK(image_ref_parse(text, &ref, &err), err);
	}
}

static void test_long_local_names(void)
{
	auto_free char *one = image_name_from_text(
		"a-very-long-name-that-goes-on-and-on-and-on-and-never-ends-at-all-1");
	auto_free char *two = image_name_from_text(
		"a-very-long-name-that-goes-on-and-on-and-on-and-never-ends-at-all-2");

	CHECK_INT(strlen(one), 63);
	CHECK(strcmp(one, two) != 0);
}

static void test_states(void)
{
	VmState state;

	for (int i = 0; i < VM_STATES; i++) {
		CHECK(vm_state_parse(vm_state_name((VmState)i), &state));
		CHECK_INT(state, i);
	}
	CHECK(!vm_state_parse("napping", &state));
}

static void test_uuids(void)
{
	auto_free char *id = uuid_new();
	auto_free char *other = uuid_new();
	auto_free char *mac = vm_mac(id);

	CHECK(uuid_is_valid(id));
	CHECK(!uuid_is_valid("nonsense"));
	CHECK(!uuid_is_valid("zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz"));
	CHECK(strcmp(id, other) != 0);
	CHECK_INT(strlen(mac), 17);
	CHECK_INT(id[14], '4');
}

static void test_machines(void)
{
	CHECK_STR(oci_arch_of_machine("x86_64"), "amd64");
	CHECK_STR(oci_arch_of_machine("armv7l"), "arm");
	CHECK_STR(oci_arch_of_machine("vax"), "vax");
	CHECK_STR(oci_machine_of_arch("arm64"), "aarch64");
	CHECK_STR(oci_machine_of_arch("arm"), "arm");
}

static void test_pairs(void)
{
	auto_strv Strv pairs = { 0 };
	auto_strv Strv edits = { 0 };
	auto_free char *text = NULL;

	strv_push(&edits, "none-");
	pairs_edit(&pairs, &edits);
	CHECK_INT(pairs.count, 0);
	strv_push(&pairs, "a=1");
	strv_push(&pairs, "ab=2");
	strv_push(&pairs, "b=");
	strv_push(&edits, "a-");
	strv_push(&edits, "ab=3=4");
	strv_push(&edits, "c-=5");
	strv_push(&edits, "b-");
	pairs_edit(&pairs, &edits);
	text = strv_join(&pairs, " ");
	CHECK_STR(text, "ab=3=4 c-=5");
	CHECK(!pairs.items[pairs.count]);
}

TEST_MAIN({ "names are checked", test_names }, { "pairs are set and removed", test_pairs },
	  { "names of snapshots", test_snapshot_names }, { "sizes need a unit", test_sizes },
	  { "sizes are shown for people", test_size_text },
	  { "references and their local names", test_references },
	  { "the longest reference", test_long_references },
	  { "long names stay different", test_long_local_names },
	  { "states and their names", test_states }, { "uuids and macs", test_uuids },
	  { "machines in OCI's words", test_machines });
