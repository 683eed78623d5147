#include "kernel/modinfo.h"

#include <elf.h>
#include <stdbool.h>
#include <string.h>

#include "util/mem.h"

/* A checked view of `size` bytes at `offset`, or NULL. */
static const uint8_t *view(const uint8_t *data, size_t len, uint64_t offset, uint64_t size)
{
	return offset <= len && size <= len - offset ? data + offset : NULL;
}

static bool read_section(const uint8_t *data, size_t len, const Elf64_Ehdr *header, unsigned index,
			 Elf64_Shdr *out)
{
	const uint8_t *at = view(data, len, header->e_shoff, (uint64_t)(index + 1) * sizeof(*out));

	if (!at)
		return false;
	memcpy(out, at + (size_t)index * sizeof(*out), sizeof(*out));
	return true;
}

static bool is_named(const uint8_t *data, size_t len, const Elf64_Shdr *names,
		     const Elf64_Shdr *section, const char *wanted)
{
	size_t size = strlen(wanted) + 1;
	const uint8_t *text;

	if (section->sh_name > names->sh_size || size > names->sh_size - section->sh_name)
		return false;
	text = view(data, len, names->sh_offset + section->sh_name, size);
	return text && !memcmp(text, wanted, size);
}

static void split_names(const char *text, size_t len, Strv *out_names)
{
	while (len) {
		const char *comma = memchr(text, ',', len);
		size_t word = comma ? (size_t)(comma - text) : len;

		if (word)
			strv_push_take(out_names, xstrndup(text, word));
		text += comma ? word + 1 : word;
		len -= comma ? word + 1 : word;
	}
}

static void find_depends(const char *text, size_t len, Strv *out_names)
{
	static const char key[] = "depends=";

	while (len) {
		size_t entry = strnlen(text, len);

		if (entry >= sizeof(key) - 1 && !memcmp(text, key, sizeof(key) - 1))
			split_names(text + sizeof(key) - 1, entry - (sizeof(key) - 1), out_names);
		text += entry < len ? entry + 1 : entry;
		len -= entry < len ? entry + 1 : entry;
	}
}

int modinfo_depends(const uint8_t *data, size_t len, Strv *out_names, Error **err)
{
	Elf64_Ehdr header;
	Elf64_Shdr names, section;

	if (len < sizeof(header) || memcmp(data, ELFMAG, SELFMAG) != 0 ||
	    data[EI_CLASS] != ELFCLASS64 || data[EI_DATA] != ELFDATA2LSB)
		return error_set(err, ERR_FAILED, "not a 64-bit kernel module");
	memcpy(&header, data, sizeof(header));
	if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shstrndx >= header.e_shnum ||
	    !read_section(data, len, &header, header.e_shstrndx, &names))
		return error_set(err, ERR_FAILED, "the kernel module's sections are damaged");
	for (unsigned i = 0; i < header.e_shnum; i++) {
		const uint8_t *text;

		if (!read_section(data, len, &header, i, &section))
			break;
		if (!is_named(data, len, &names, &section, ".modinfo"))
			continue;
		text = view(data, len, section.sh_offset, section.sh_size);
		if (!text)
			break;
		find_depends((const char *)text, section.sh_size, out_names);
		return 0;
	}
	return error_set(err, ERR_FAILED, "the kernel module does not describe itself");
}
