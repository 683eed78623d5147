#include "test.h"

#include <elf.h>

#include "kernel/build.h"
#include "kernel/fragment.h"
#include "kernel/identify.h"
#include "util/mem.h"

static void test_fragment(void)
{
	auto_fragment Fragment fragment = { 0 };
	auto_free char *text = NULL;
	auto_error err = NULL;

	CHECK_OK(fragment_add(
			 &fragment,
			 "# what it is for\n\nCONFIG_B=64\r\nCONFIG_A=y  \n# CONFIG_C is not set\n"
			 "#? CONFIG_D=y\nCONFIG_E=\"a b\"",
			 "ours", &err),
		 err);
	CHECK_INT(fragment.count, 5);
	CHECK(fragment.items[3].is_wish && !fragment.items[0].is_wish);
	CHECK_OK(fragment_add(&fragment, "CONFIG_C=y\n# CONFIG_A is not set\nCONFIG_D=y\n",
			      "theirs", &err),
		 err);
	text = fragment_text(&fragment);
	CHECK_STR(text, "# CONFIG_A is not set\nCONFIG_B=64\nCONFIG_C=y\nCONFIG_D=y\n"
			"CONFIG_E=\"a b\"\n");
	CHECK(!fragment.items[3].is_wish);
}

static void test_bad_fragment(void)
{
	static const char *const lines[] = {
		"CONFIG_A = y", "CONFIG_=y",  "CONFIG_A",   "CONFIG_A=",    "A=y",
		"config_a=y",	"CONFIG_A=m", "#? nothing", "CONFIG_A-B=y",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		auto_fragment Fragment fragment = { 0 };
		auto_free char *text = xasprintf("CONFIG_FIRST=y\n%s\n", lines[i]);
		auto_error err = NULL;

		CHECK(fragment_add(&fragment, text, "'file'", &err) < 0);
		CHECK_INT(error_code(err), ERR_USAGE);
		CHECK(strstr(error_text(err), "'file', line 2"));
	}
}

static void test_missing(void)
{
	static const char config[] =
		"CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_AA=m\nCONFIG_N=640\n";
	auto_fragment Fragment fragment = { 0 };
	auto_error err = NULL;
	auto_strv Strv missing = { 0 };
	auto_free char *text = NULL;

	CHECK_OK(fragment_add(
			 &fragment,
			 "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_AA is not set\n# CONFIG_Z is not set\n"
			 "CONFIG_N=64\n#? CONFIG_WISH=y\n",
			 "ours", &err),
		 err);
	fragment_missing(&fragment, config, &missing);
	text = strv_join(&missing, ", ");
	CHECK_STR(text, "# CONFIG_AA is not set, CONFIG_B=y, CONFIG_N=64");
}

static void test_recipe(void)
{
	char identity[] = "package linux-source-6.1 6.1.2-3";
	KernelSource source = { .identity = identity };
	auto_fragment Fragment fragment = { 0 };
	auto_free char *recipe = NULL;
	auto_free char *back = NULL;
	auto_error err = NULL;

	CHECK_OK(fragment_add(&fragment, "CONFIG_A=y\n", "ours", &err), err);
	recipe = kernel_recipe(&source, &fragment, "gcc 12\nld 2\n", "x86_64");
	CHECK_STR(recipe, "source package linux-source-6.1 6.1.2-3\ngcc 12\nld 2\nmachine x86_64\n"
			  "CONFIG_A=y\n");
	back = kernel_recipe_source(recipe);
	CHECK_STR(back, identity);
	CHECK(kernel_source_is_package(back));
	CHECK(!kernel_source_is_package("directory /usr/src/linux 0"));
	source.identity = NULL;
	CHECK(!kernel_recipe(&source, &fragment, "", "x86_64"));
	CHECK(!kernel_recipe_source("nothing") && !kernel_recipe_source(NULL));
}

#define BANNER "Linux version 6.1.0-42-ember (a@b) #1"

/* An ELF kernel: header, one segment of notes, the banner. */
static size_t make_elf(uint8_t *data, unsigned machine, unsigned note_type)
{
	static const char banners[] = "Linux version %s\0" BANNER;
	Elf64_Ehdr header = { .e_machine = (Elf64_Half)machine,
			      .e_phoff = sizeof(header),
			      .e_phnum = 1 };
	Elf64_Nhdr notes[2] = { { 4, 4, 1 }, { 4, 4, note_type } };
	Elf64_Phdr segment = { .p_type = PT_NOTE, .p_offset = sizeof(header) + sizeof(segment) };
	size_t at = segment.p_offset;

	memcpy(header.e_ident, ELFMAG, SELFMAG);
	header.e_ident[EI_CLASS] = ELFCLASS64;
	header.e_ident[EI_DATA] = ELFDATA2LSB;
	for (int i = 0; i < 2; i++) {
		memcpy(data + at, &notes[i], sizeof(notes[i]));
		memcpy(data + at + sizeof(notes[i]), "Xen\0....", 8);
		at += sizeof(notes[i]) + 8;
	}
	segment.p_filesz = at - segment.p_offset;
	memcpy(data + at, banners, sizeof(banners));
	memcpy(data, &header, sizeof(header));
	memcpy(data + sizeof(header), &segment, sizeof(segment));
	return at + sizeof(banners);
}

static void test_identify_elf(void)
{
	uint8_t data[1024];
	size_t len = make_elf(data, EM_X86_64, 18);
	KernelFacts facts;

	kernel_identify(data, len, KERNEL_ELF, &facts);
	CHECK_STR(facts.arch, "x86_64");
	CHECK_STR(facts.version, "6.1.0-42-ember");
	CHECK(facts.has_pvh);
	CHECK(kernel_check_bootable(&facts, KERNEL_ELF, "x86_64", "it", NULL) == 0);
	CHECK(kernel_check_bootable(&facts, KERNEL_ELF, "aarch64", "it", NULL) < 0);
	kernel_facts_release(&facts);
	len = make_elf(data, EM_AARCH64, 17);
	kernel_identify(data, len, KERNEL_ELF, &facts);
	CHECK_STR(facts.arch, "aarch64");
	CHECK(!facts.has_pvh);
	kernel_facts_release(&facts);
	/* Cut anywhere, it is read, never read past. */
	for (size_t cut = 0; cut < len; cut++) {
		auto_free uint8_t *copy = xmalloc(cut + 1);

		memcpy(copy, data, cut);
		kernel_identify(copy, cut, KERNEL_ELF, &facts);
		kernel_facts_release(&facts);
	}
}

static void test_identify_others(void)
{
	uint8_t data[1024] = { 0 };
	KernelFacts facts;

	data[0x20e] = 0x80;
	data[0x236] = 1;
	memcpy(data + 0x280, &BANNER[strlen("Linux version ")], strlen("6.1.0-42-ember "));
	kernel_identify(data, sizeof(data), KERNEL_BZIMAGE, &facts);
	CHECK_STR(facts.arch, "x86_64");
	CHECK_STR(facts.version, "6.1.0-42-ember");
	kernel_facts_release(&facts);
	data[0x20f] = 0xff;
	kernel_identify(data, sizeof(data), KERNEL_BZIMAGE, &facts);
	CHECK(!facts.version);
	memcpy(data + 100, BANNER, sizeof(BANNER));
	kernel_identify(data, sizeof(data), KERNEL_ARM64, &facts);
	CHECK_STR(facts.arch, "aarch64");
	CHECK_STR(facts.version, "6.1.0-42-ember");
	kernel_facts_release(&facts);
}

TEST_MAIN({ "later lines of a fragment win", test_fragment },
	  { "what is no option is refused", test_bad_fragment },
	  { "what did not take effect is found", test_missing },
	  { "a recipe names its source", test_recipe },
	  { "an ELF kernel says what it is", test_identify_elf },
	  { "a bzImage and an arm64 Image do", test_identify_others });
