/* What the guest reads and writes: command line, user database, identity files. */
#include <arpa/inet.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/base.h"
#include "guest/cmdline.h"
#include "guest/document.h"
#include "guest/identity.h"
#include "guest/net.h"
#include "guest/resize.h"
#include "guest/users.h"

#include "test.h"

const char program_name[] = "test";

static char root[64];

static void write_below(const char *name, const char *text)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", root, name);
	CHECK_INT(replace_file(path, text, 0644), 0);
}

static void check_below(const char *name, const char *want)
{
	char path[128], *text;

	(void)snprintf(path, sizeof(path), "%s/%s", root, name);
	text = read_file(path, 65536);
	CHECK_STR(text, want);
	free(text);
}

static void make_root(void)
{
	char path[80];

	(void)snprintf(root, sizeof(root), "/tmp/ember-test-parts.XXXXXX");
	CHECK(mkdtemp(root));
	(void)snprintf(path, sizeof(path), "%s/etc", root);
	CHECK_INT(mkdir(path, 0755), 0);
}

static void remove_root(void)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf '%s'", root);
	CHECK_INT(system(command), 0);
}

static void test_cmdline(void)
{
	static const char line[] = "console=ttyS0  root=/dev/vda rw\troot=/dev/vdb init= x=1\n";
	char value[16];

	CHECK(cmdline_value(line, "root", value, sizeof(value)));
	CHECK_STR(value, "/dev/vdb");
	CHECK(cmdline_value(line, "root", value, 5));
	CHECK_STR(value, "/dev");
	CHECK(cmdline_value(line, "init", value, sizeof(value)));
	CHECK_STR(value, "");
	CHECK(!cmdline_value(line, "oot", value, sizeof(value)));
	CHECK(!cmdline_value(line, "rw", value, sizeof(value)));
	CHECK(cmdline_has(line, "rw"));
	CHECK(!cmdline_has(line, "r"));
	CHECK(!cmdline_has("", "rw"));
}

static void test_percent(void)
{
	static const char *const bad[] = { "%", "a%2", "%2x", "%00", "%%41" };
	char good[] = "a%20b%C3%A9%25=%0a+";

	CHECK(percent_decode(good));
	CHECK_STR(good, "a b\u00e9%=\n+");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char text[16];

		(void)snprintf(text, sizeof(text), "%s", bad[i]);
		CHECK(!percent_decode(text));
	}
}

static void test_document(void)
{
	Document document;

	CHECK(document_parse(strdup("{}"), &document));
	CHECK(!document.entrypoint && !document.cmd && !document.env && !document.user);
	document_release(&document);
	CHECK(document_parse(
		strdup(" {\"entrypoint\" : [\"/a\", \"b \\\"c\\\\\\n\" ],\"cmd\":[],\"env\":[\"A=\\u00e9\\u20ac\\ud83d\\ude00\\u0041\"],"
		       "\"user\":\"u:g\",\"workdir\":\"\",\"labels\":{\"a\":[{}, 1.5e3, true, null]},\"env\":[\"B=2\",\"C=3\"]}\n"),
		&document));
	CHECK_STR(document.entrypoint[0], "/a");
	CHECK_STR(document.entrypoint[1], "b \"c\\\n");
	CHECK(!document.entrypoint[2] && !document.cmd[0]);
	CHECK_STR(document.env[1], "C=3");
	CHECK(!document.env[2]);
	CHECK_STR(document.user, "u:g");
	CHECK_STR(document.workdir, "");
	document_release(&document);
	CHECK(document_parse(strdup("{\"env\":[\"A=\\u00e9\\u20ac\\ud83d\\ude00\\u0041\"]}"),
			     &document));
	CHECK_STR(document.env[0], "A=\u00e9\u20ac\U0001f600A");
	document_release(&document);
}

static void test_bad_documents(void)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{",
		"{}x",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{\"user\":1}",
		"{\"cmd\":\"x\"}",
		"{\"cmd\":[1]}",
		"{\"cmd\":[\"a\",]}",
		"{\"cmd\":[\"a\"",
		"{\"user\":\"a",
		"{\"user\":\"a\\",
		"{\"user\":\"\\x\"}",
		"{\"user\":\"\\u00\"}",
		"{\"user\":\"\\u0000\"}",
		"{\"user\":\"\\ud800\"}",
		"{\"user\":\"\\ud800\\u0041\"}",
		"{\"user\":\"\\udc00\"}",
		"{\"user\":\"a\nb\"}",
		"{\"x\":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}",
	};
	Document document = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK(!document_parse(strdup(bad[i]), &document));
		CHECK(!document.text);
	}
}

static void check_address(struct in_addr got, const char *want)
{
	CHECK_STR(inet_ntoa(got), want);
}

static void test_ip_parameter(void)
{
	NetConfig net;

	CHECK(net_parse_boot_parameter(
		"quiet ip=10.0.2.15::10.0.2.2:255.255.0.0:web-1:eth1:off:10.0.2.3:1.1.1.1 rw",
		&net));
	check_address(net.address, "10.0.2.15");
	check_address(net.gateway, "10.0.2.2");
	check_address(net.netmask, "255.255.0.0");
	check_address(net.dns[0], "10.0.2.3");
	check_address(net.dns[1], "1.1.1.1");
	CHECK_STR(net.hostname, "web-1");
	CHECK_STR(net.device, "eth1");

	CHECK(net_parse_boot_parameter("ip=10.0.0.9", &net));
	check_address(net.netmask, "255.255.255.0");
	check_address(net.gateway, "0.0.0.0");
	CHECK_STR(net.hostname, "");
	CHECK_STR(net.device, "eth0");

	CHECK(net_parse_boot_parameter("ip=::::web-2::off", &net));
	check_address(net.address, "0.0.0.0");
	CHECK_STR(net.hostname, "web-2");

	CHECK(!net_parse_boot_parameter("ip=dhcp", &net));
	CHECK(!net_parse_boot_parameter("ip=", &net));
	CHECK(!net_parse_boot_parameter("ip=:::::eth0:dhcp", &net));
	CHECK(!net_parse_boot_parameter("zip=10.0.0.9", &net));
}

static void test_users(void)
{
	User user;

	make_root();
	write_below("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"
				  "broken line\nshort:x:1\n\n"
				  "web:x:1000:1001:,,,:/home/web:/bin/sh\n"
				  "4711:x:5:6::relative:/bin/sh");
	write_below("etc/group", "root:x:0:\nweb:x:1001:\nadm:x:4:root,web\nnone:x:9:webby,we\n"
				 "disk:x:6:web,root\nbroken\n");

	CHECK(user_find(root, "web", &user));
	CHECK_INT(user.uid, 1000);
	CHECK_INT(user.gid, 1001);
	CHECK_STR(user.home, "/home/web");
	CHECK_INT(user.group_count, 3);
	CHECK_INT(user.groups[0], 1001);
	CHECK_INT(user.groups[1], 4);
	CHECK_INT(user.groups[2], 6);

	CHECK(user_find(root, "1000", &user));
	CHECK_STR(user.name, "web");
	CHECK_INT(user.group_count, 3);

	CHECK(user_find(root, "web:adm", &user));
	CHECK_INT(user.gid, 4);
	CHECK_INT(user.group_count, 1);
	CHECK(user_find(root, "web:77", &user));
	CHECK_INT(user.gid, 77);

	CHECK(user_find(root, "4711", &user)); /* a name first, as in chown(1) */
	CHECK_INT(user.uid, 5);
	CHECK_STR(user.home, "/");

	CHECK(user_find(root, "12345", &user));
	CHECK_INT(user.uid, 12345);
	CHECK_INT(user.gid, 0);
	CHECK_STR(user.home, "/");

	CHECK(!user_find(root, "nobody-here", &user));
	CHECK(!user_find(root, "web:nobody-here", &user));
	CHECK(!user_find(root, "4294967295", &user)); /* setuid(2) takes it for "no change" */
	CHECK(!user_find(root, "99999999999999999999", &user));
	CHECK(!user_find(root, "-1", &user));
	CHECK(!user_find(root, "web:-1", &user));
	remove_root();
}

static void test_users_without_databases(void)
{
	User user;

	make_root();
	CHECK(user_find(root, "root", &user));
	CHECK_INT(user.uid, 0);
	CHECK(user_find(root, "0:0", &user));
	CHECK(user_find(root, "", &user));
	CHECK_STR(user.name, "root");
	CHECK(!user_find(root, "web", &user));
	remove_root();
}

#define ID "0A1b2c3d-1111-2222-3333-444455556666"

static void test_identity(void)
{
	make_root();
	write_below("etc/hosts",
		    "127.0.0.1 localhost\n127.0.1.1 old\n10.0.0.1 db\n127.0.1.10 keep");
	CHECK(identity_is_stale(root, ID));
	CHECK_INT(identity_apply(root, "web-1", ID), 0);
	CHECK(!identity_is_stale(root, ID));
	CHECK(identity_is_stale(root, "ffffffff-1111-2222-3333-444455556666"));
	check_below("etc/hostname", "web-1\n");
	check_below("etc/hosts", "127.0.0.1 localhost\n10.0.0.1 db\n127.0.1.10 keep\n"
				 "127.0.1.1\tweb-1\n");
	check_below("etc/machine-id", "0a1b2c3d111122223333444455556666\n");
	check_below("var/lib/ember/id", ID "\n");

	CHECK_INT(identity_apply(root, "web-2", NULL), 0);
	check_below("etc/hosts", "127.0.0.1 localhost\n10.0.0.1 db\n127.0.1.10 keep\n"
				 "127.0.1.1\tweb-2\n");
	check_below("var/lib/ember/id", ID "\n");
	remove_root();
}

static void test_identity_follows_a_rename(void)
{
	make_root();
	CHECK_INT(identity_apply(root, "web", ID), 0);
	check_below("var/lib/ember/name", "web\n");
	CHECK_INT(identity_follow(root, "web"), 0);
	check_below("etc/hostname", "web\n");
	CHECK_INT(identity_follow(root, "shop"), 0);
	check_below("etc/hostname", "shop\n");
	check_below("var/lib/ember/name", "shop\n");
	check_below("var/lib/ember/id", ID "\n");

	/* The guest's own choice stays, whatever the VM is called next. */
	write_below("etc/hostname", "mine\n");
	CHECK_INT(identity_follow(root, "store"), 0);
	check_below("etc/hostname", "mine\n");
	check_below("var/lib/ember/name", "store\n");
	remove_root();
}

/* The disk of a VM that an older guest has booted. */
static void test_identity_without_a_name(void)
{
	make_root();
	write_below("etc/hostname", "old\n");
	CHECK_INT(identity_follow(root, "web"), 0);
	check_below("etc/hostname", "old\n");
	check_below("var/lib/ember/name", "web\n");
	remove_root();
}

static void test_identity_of_bare_root(void)
{
	make_root();
	CHECK_INT(identity_apply(root, "a", ID), 0);
	check_below("etc/hosts", "127.0.0.1\tlocalhost\n"
				 "::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\ta\n");
	remove_root();
}

static void test_identity_names(void)
{
	char longest[65];

	memset(longest, 'a', sizeof(longest));
	longest[63] = '\0';
	CHECK(identity_is_hostname(longest));
	longest[63] = 'a';
	longest[64] = '\0';
	CHECK(!identity_is_hostname(longest));
	CHECK(identity_is_hostname("web-1.example.org"));
	CHECK(!identity_is_hostname(""));
	CHECK(!identity_is_hostname("-web"));
	CHECK(!identity_is_hostname("a b"));
	CHECK(!identity_is_hostname("a\nb"));
	CHECK(identity_is_id(ID));
	CHECK(!identity_is_id("0a1b2c3d111122223333444455556666"));
	CHECK(!identity_is_id("0a1b2c3d-1111-2222-3333-44445555666g"));
	CHECK(!identity_is_id(""));
}

#define GIB (1ULL << 30)

static void put(uint8_t *super, size_t at, uint32_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		super[at + i] = (uint8_t)(value >> 8 * i);
}

/* 8 GiB of blocks of 4 KiB, with `reserved` more blocks of descriptors. */
static void make_super(uint8_t super[RESIZE_SUPER_BYTES], uint32_t reserved)
{
	memset(super, 0, RESIZE_SUPER_BYTES);
	put(super, 4, 2097152, 4);
	put(super, 24, 2, 4);
	put(super, 32, 32768, 4);
	put(super, 56, 0xef53, 2);
	put(super, 92, 0x10, 4);
	put(super, 96, 0x80, 4);
	put(super, 206, reserved, 2);
	put(super, 254, 64, 2);
}

static void test_growth(void)
{
	uint8_t super[RESIZE_SUPER_BYTES];
	ResizeShape shape;
	unsigned steps = 0;

	make_super(super, 127);
	CHECK(resize_read_shape(super, &shape));
	CHECK_INT((long long)(shape.blocks * shape.block_bytes), 8LL << 30);
	CHECK_INT((long long)(shape.blocks_max * shape.block_bytes), 1LL << 40);
	CHECK(resize_next(&shape, 8 * GIB) == shape.blocks);
	CHECK(resize_next(&shape, 4 * GIB) == shape.blocks);
	CHECK(resize_next(&shape, 9 * GIB) * 4096 == 9 * GIB);
	/* Never far at a time, and never beyond what there is room for. */
	for (uint64_t next; (next = resize_next(&shape, 16384 * GIB)) != shape.blocks; steps++) {
		CHECK((next - shape.blocks) * 4096 <= 64 * GIB);
		shape.blocks = next;
	}
	CHECK_INT(steps, 16);
	CHECK(shape.blocks == shape.blocks_max);
	/* Of a layout that the kernel converts, or has converted, nothing is grown. */
	put(super, 96, 0x90, 4);
	CHECK(resize_read_shape(super, &shape) && resize_next(&shape, 64 * GIB) == shape.blocks);
	make_super(super, 0);
	put(super, 92, 0, 4);
	CHECK(resize_read_shape(super, &shape) && resize_next(&shape, 64 * GIB) == shape.blocks);
	put(super, 254, 0, 2);
	CHECK(!resize_read_shape(super, &shape));
	put(super, 56, 0, 2);
	CHECK(!resize_read_shape(super, &shape));
}

TEST_MAIN({ "command line", test_cmdline }, { "percent-encoding", test_percent },
	  { "image.json", test_document }, { "what is no image.json", test_bad_documents },
	  { "ip=", test_ip_parameter }, { "users and groups", test_users },
	  { "users without databases", test_users_without_databases },
	  { "identity", test_identity }, { "identity of a bare root", test_identity_of_bare_root },
	  { "a renamed VM", test_identity_follows_a_rename },
	  { "a VM without a stamped name", test_identity_without_a_name },
	  { "names and ids", test_identity_names }, { "how a filesystem grows", test_growth });
