#include "kernel/identify.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "util/mem.h"
#include "util/str.h"

#define RELEASE_MAX	    64
#define BZ_VERSION_AT	    0x20e
#define BZ_XLOADFLAGS_AT    0x236
#define BZ_SETUP_BASE	    0x200
#define XEN_NOTE_PVH_ENTRY  18
#define ELF_NOTE_ALIGN(len) (((len) + 3U) & ~3U)

void kernel_facts_release(KernelFacts *facts)
{
	free(facts->version);
	*facts = (KernelFacts){ 0 };
}

/* A release as text up to a space, or NULL when what stands there is none. */
static char *take_release(const uint8_t *data, size_t len)
{
	size_t end = 0;

	while (end < len && end <= RELEASE_MAX && data[end] > ' ' && data[end] < 0x7f)
		end++;
	if (!end || end == len || end > RELEASE_MAX || data[end] != ' ' || data[0] < '0' ||
	    data[0] > '9')
		return NULL;
	return xstrndup((const char *)data, end);
}

static char *find_banner(const uint8_t *data, size_t len)
{
	static const char banner[] = "Linux version ";
	const size_t banner_len = sizeof(banner) - 1;
	const uint8_t *at = data;

	/* The format of the message, "Linux version %s", stands there too. */
	while ((at = memmem(at, len - (size_t)(at - data), banner, banner_len))) {
		char *release;

		at += banner_len;
		release = take_release(at, len - (size_t)(at - data));
		if (release)
			return release;
	}
	return NULL;
}

static bool has_pvh_note(const uint8_t *notes, size_t len)
{
	while (len >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		size_t size;

		memcpy(&note, notes, sizeof(note));
		if (note.n_namesz > len || note.n_descsz > len)
			return false;
		size = sizeof(note) + ELF_NOTE_ALIGN((size_t)note.n_namesz) +
		       ELF_NOTE_ALIGN((size_t)note.n_descsz);
		if (size > len)
			return false;
		if (note.n_type == XEN_NOTE_PVH_ENTRY && note.n_namesz == sizeof("Xen") &&
		    !memcmp(notes + sizeof(note), "Xen", sizeof("Xen")))
			return true;
		notes += size;
		len -= size;
	}
	return false;
}

static void identify_elf(const uint8_t *data, size_t len, KernelFacts *facts)
{
	Elf64_Ehdr header;

	if (len < sizeof(header))
		return;
	memcpy(&header, data, sizeof(header));
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB)
		return;
	facts->arch = header.e_machine == EM_X86_64    ? "x86_64"
		      : header.e_machine == EM_AARCH64 ? "aarch64"
						       : NULL;
	for (unsigned i = 0; i < header.e_phnum; i++) {
		uint64_t at = header.e_phoff + (uint64_t)i * sizeof(Elf64_Phdr);
		Elf64_Phdr segment;

		if (header.e_phoff > len || at > len - sizeof(segment))
			return;
		memcpy(&segment, data + at, sizeof(segment));
		if (segment.p_type == PT_NOTE && segment.p_offset <= len &&
		    segment.p_filesz <= len - segment.p_offset &&
		    has_pvh_note(data + segment.p_offset, segment.p_filesz))
			facts->has_pvh = true;
	}
}

static void identify_bzimage(const uint8_t *data, size_t len, KernelFacts *facts)
{
	size_t at;

	if (len <= BZ_XLOADFLAGS_AT)
		return;
	facts->arch = data[BZ_XLOADFLAGS_AT] & 1 ? "x86_64" : NULL;
	at = BZ_SETUP_BASE + ((size_t)data[BZ_VERSION_AT] | (size_t)data[BZ_VERSION_AT + 1] << 8);
	if (at > BZ_SETUP_BASE && at < len)
		facts->version = take_release(data + at, len - at);
}

void kernel_identify(const uint8_t *data, size_t len, KernelFormat format, KernelFacts *out_facts)
{
	KernelFacts facts = { 0 };

	if (format == KERNEL_ELF)
		identify_elf(data, len, &facts);
	else if (format == KERNEL_ARM64)
		facts.arch = "aarch64";
	if (format == KERNEL_BZIMAGE)
		identify_bzimage(data, len, &facts);
	else
		facts.version = find_banner(data, len);
	*out_facts = facts;
}

int kernel_identify_file(const char *path, KernelFacts *out_facts, KernelFormat *out_format,
			 Error **err)
{
	auto_fd fd = -1;
	struct stat st;
	void *data;

	if (kernel_format_of(path, out_format, err) < 0)
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set_errno(err, errno, "read kernel '%s'", path);
	if (st.st_size > KERNEL_IMAGE_MAX) {
		error_set(err, ERR_USAGE, "'%s' is too big for a kernel", path);
		return error_hint(err, "take its debugging information out: strip %s", path);
	}
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return error_set_errno(err, errno, "read kernel '%s'", path);
	kernel_identify(data, (size_t)st.st_size, *out_format, out_facts);
	(void)munmap(data, (size_t)st.st_size);
	return 0;
}

int kernel_check_bootable(const KernelFacts *facts, KernelFormat format, const char *host_arch,
			  const char *what, Error **err)
{
	if (!str_equal(facts->arch, host_arch)) {
		error_set(err, ERR_UNSUPPORTED, "%s is a kernel for %s, this host is %s", what,
			  facts->arch ? facts->arch : "another machine", host_arch);
		return error_hint(err, "name one for %s, or make one: ember kernel build",
				  host_arch);
	}
	if (format == KERNEL_ELF && !strcmp(host_arch, "x86_64") && !facts->has_pvh) {
		error_set(err, ERR_UNSUPPORTED,
			  "%s has no PVH entry point, so QEMU cannot start it", what);
		return error_hint(err, "compile it with CONFIG_PVH=y, or take its bzImage");
	}
	return 0;
}
