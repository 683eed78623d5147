#include "test.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/bzimage.h"
#include "kernel/initramfs.h"
#include "kernel/magic.h"
#include "kernel/modinfo.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/process.h"

#define BZ_SIZE 4096

/* A bzImage with two setup sectors and `payload` behind 16 bytes of code. */
static void make_bzimage(uint8_t *data, const void *payload, size_t len)
{
	memset(data, 0, BZ_SIZE);
	data[0x1f1] = 1;
	data[0x1fe] = 0x55;
	data[0x1ff] = 0xaa;
	memcpy(data + 0x202, "HdrS", 4);
	data[0x206] = 0x0f;
	data[0x207] = 0x02;
	data[0x248] = 16;
	data[0x24c] = (uint8_t)len;
	data[0x24d] = (uint8_t)(len >> 8);
	memcpy(data + 1024 + 16, payload, len);
}

static void test_bzimage(void)
{
	uint8_t data[BZ_SIZE];
	auto_error err = NULL;
	BzPayload payload;

	make_bzimage(data, "\x02\x21\x4c\x18....................", 24);
	CHECK_OK(bzimage_parse(data, sizeof(data), &payload, &err), err);
	CHECK_STR(payload.program, "lz4");
	CHECK_INT(payload.offset, 1040);
	CHECK_INT(payload.length, 20);
	make_bzimage(data, "\x1f\x8b......................", 24);
	CHECK_OK(bzimage_parse(data, sizeof(data), &payload, &err), err);
	CHECK_INT(payload.length, 24);
}

static void test_hostile_bzimage(void)
{
	uint8_t data[BZ_SIZE];
	auto_error err = NULL;
	BzPayload payload;

	make_bzimage(data, "\x02\x21\x4c\x18....................", 24);
	CHECK_FAILS(bzimage_parse(data, 0x24f, &payload, &err), err, ERR_FAILED);
	CHECK_FAILS(bzimage_parse(data, 1050, &payload, &err), err, ERR_FAILED);
	memset(data + 0x248, 0xff, 8);
	CHECK_FAILS(bzimage_parse(data, sizeof(data), &payload, &err), err, ERR_FAILED);
	make_bzimage(data, "????????????????????????", 24);
	CHECK_FAILS(bzimage_parse(data, sizeof(data), &payload, &err), err, ERR_UNSUPPORTED);
	data[0x202] = 'X';
	CHECK_FAILS(bzimage_parse(data, sizeof(data), &payload, &err), err, ERR_FAILED);
}

/* A module file: ELF header, three section headers, names, .modinfo. */
static size_t make_module(uint8_t *data, const char *modinfo, size_t modinfo_len)
{
	static const char names[] = "\0.shstrtab\0.modinfo";
	Elf64_Ehdr header = { .e_shoff = sizeof(header),
			      .e_shentsize = sizeof(Elf64_Shdr),
			      .e_shnum = 3,
			      .e_shstrndx = 1 };
	Elf64_Shdr sections[3] = { { 0 } };
	size_t at = sizeof(header) + sizeof(sections);

	memcpy(header.e_ident, ELFMAG, SELFMAG);
	header.e_ident[EI_CLASS] = ELFCLASS64;
	header.e_ident[EI_DATA] = ELFDATA2LSB;
	sections[1] = (Elf64_Shdr){ .sh_name = 1, .sh_offset = at, .sh_size = sizeof(names) };
	memcpy(data + at, names, sizeof(names));
	at += sizeof(names);
	sections[2] = (Elf64_Shdr){ .sh_name = 11, .sh_offset = at, .sh_size = modinfo_len };
	memcpy(data + at, modinfo, modinfo_len);
	memcpy(data, &header, sizeof(header));
	memcpy(data + sizeof(header), sections, sizeof(sections));
	return at + modinfo_len;
}

static void test_modinfo(void)
{
	static const char info[] = "license=GPL\0depends=jbd2,mbcache\0name=ext4";
	uint8_t data[1024];
	size_t len = make_module(data, info, sizeof(info));
	auto_error err = NULL;
	auto_strv Strv names = { 0 };

	CHECK_OK(modinfo_depends(data, len, &names, &err), err);
	CHECK_INT(names.count, 2);
	CHECK_STR(names.items[0], "jbd2");
	CHECK_STR(names.items[1], "mbcache");
	/* Cut anywhere, it is refused or read, never read past. */
	for (size_t cut = 0; cut < len; cut++) {
		auto_free uint8_t *copy = xmalloc(cut);
		auto_strv Strv ignored = { 0 };

		memcpy(copy, data, cut);
		CHECK(modinfo_depends(copy, cut, &ignored, NULL) < 0);
	}
}

static void write_module(const char *dir, const char *name, const char *depends)
{
	uint8_t data[1024];
	auto_free char *info = xasprintf("depends=%s", depends);
	auto_free char *path = path_join(dir, name);
	size_t len = make_module(data, info, strlen(info) + 1);

	CHECK_INT(fs_write_atomic(path, data, len, 0600, false, NULL), 0);
}

static void test_module_order(void)
{
	static const char *const wanted[] = { "virtio_net", "builtin-one", "virtio-rng" };
	char dir[] = "/tmp/ember-unit-XXXXXX";
	auto_free char *sub = NULL;
	auto_error err = NULL;
	auto_strv Strv paths = { 0 };

	CHECK(mkdtemp(dir));
	sub = path_join(dir, "net");
	CHECK_OK(fs_mkdir(sub, 0700, &err), err);
	write_module(sub, "virtio_net.ko", "net_failover");
	write_module(sub, "net_failover.ko", "failover");
	write_module(dir, "failover.ko", "");
	write_module(dir, "virtio-rng.ko", "");
	CHECK_OK(initramfs_order_modules(dir, wanted, 3, &paths, &err), err);
	CHECK_INT(paths.count, 4);
	CHECK_STR(path_basename(paths.items[0]), "failover.ko");
	CHECK_STR(path_basename(paths.items[1]), "net_failover.ko");
	CHECK_STR(path_basename(paths.items[2]), "virtio_net.ko");
	CHECK_STR(path_basename(paths.items[3]), "virtio-rng.ko");
	strv_release(&paths);
	write_module(dir, "failover.ko", "virtio_net");
	CHECK_OK(fs_remove_tree(dir, &err), err);
}

/* As Debian 13 ships them. A module that another one needs as well is taken once. */
static void test_compressed_modules(void)
{
	static const char *const wanted[] = { "virtio_net", "failover" };
	char dir[] = "/tmp/ember-unit-XXXXXX";
	auto_free char *path = NULL;
	auto_command Command xz = { 0 };
	auto_error err = NULL;
	auto_strv Strv paths = { 0 };

	CHECK(mkdtemp(dir));
	write_module(dir, "virtio_net.ko", "failover");
	write_module(dir, "failover.ko", "");
	path = path_join(dir, "failover.ko");
	command_init(&xz, "xz", path, NULL);
	CHECK_OK(command_run(&xz, deadline_in_ms(10000), &err), err);
	CHECK(!fs_exists(path));
	CHECK_OK(initramfs_order_modules(dir, wanted, 2, &paths, &err), err);
	CHECK_INT(paths.count, 2);
	CHECK_STR(paths.items[0], path);
	CHECK(fs_exists(path));
	CHECK_OK(fs_remove_tree(dir, &err), err);
}

static void test_circular_modules(void)
{
	static const char *const wanted[] = { "a" };
	char dir[] = "/tmp/ember-unit-XXXXXX";
	auto_error err = NULL;
	auto_strv Strv paths = { 0 };

	CHECK(mkdtemp(dir));
	write_module(dir, "a.ko", "b");
	write_module(dir, "b.ko", "a");
	CHECK_FAILS(initramfs_order_modules(dir, wanted, 1, &paths, &err), err, ERR_FAILED);
	CHECK_OK(fs_remove_tree(dir, &err), err);
}

/* GNU cpio is the judge of the archive. */
static void test_initramfs(void)
{
	char dir[] = "/tmp/ember-unit-XXXXXX";
	auto_free char *boot = NULL;
	auto_free char *image = NULL;
	auto_error err = NULL;
	auto_strv Strv modules = { 0 };
	auto_command Command cmd = { 0 };

	CHECK(mkdtemp(dir));
	boot = path_join(dir, "boot");
	image = path_join(dir, "initrd");
	CHECK_OK(fs_write_atomic(boot, "#!", 2, 0700, false, &err), err);
	write_module(dir, "m.ko", "");
	strv_pushf(&modules, "%s/m.ko", dir);
	CHECK_OK(initramfs_write(image, boot, &modules, &err), err);
	command_init(
		&cmd, "sh", "-c",
		"mkdir x && cd x && cpio -i --quiet < ../initrd && cat modules/order && cmp init ../boot",
		NULL);
	cmd.dir = dir;
	cmd.capture = true;
	CHECK_OK(command_run(&cmd, deadline_in_ms(5000), &err), err);
	CHECK_STR(strbuf_str(&cmd.output), "m.ko\n");
	CHECK_OK(fs_remove_tree(dir, &err), err);
}

static void test_magic(void)
{
	auto_error err = NULL;
	KernelFormat format;

	CHECK_OK(kernel_format_of("/proc/self/exe", &format, &err), err);
	CHECK_INT(format, KERNEL_ELF);
	CHECK_FAILS(kernel_format_of("/etc/passwd", &format, &err), err, ERR_USAGE);
	CHECK_FAILS(kernel_format_of("/dev/null", &format, &err), err, ERR_USAGE);
	CHECK_FAILS(kernel_format_of("/etc", &format, &err), err, ERR_USAGE);
	CHECK_FAILS(kernel_format_of("/nowhere", &format, &err), err, ERR_NOT_FOUND);
}

TEST_MAIN({ "the payload of a bzImage", test_bzimage },
	  { "a damaged bzImage is refused", test_hostile_bzimage },
	  { "a module names what it depends on", test_modinfo },
	  { "modules are ordered", test_module_order },
	  { "compressed modules", test_compressed_modules },
	  { "modules in a circle are refused", test_circular_modules },
	  { "the initramfs is a cpio archive", test_initramfs },
	  { "kernels are known by their magic", test_magic });
