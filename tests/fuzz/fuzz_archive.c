/*
 * A file that the user wants to import: what is it, and which images are in it?
 */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "ops/archive_look.h"
#include "ops/sniff.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_archive_facts ArchiveFacts facts = { 0 };
	auto_fd fd = memfd_create("archive", MFD_CLOEXEC);
	auto_error err = NULL;
	Sniffed seen = sniff(data, size);

	CHECK(seen.what);
	CHECK((seen.kind == SNIFF_PACKED) == (seen.unpacker != NULL));
	CHECK(fd >= 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	if (archive_look(fd, &facts, &err) < 0) {
		CHECK(err);
		return 0;
	}
	for (size_t i = 0; i < facts.tags.count; i++)
		CHECK(str_is_utf8(facts.tags.items[i]) && !strpbrk(facts.tags.items[i], "\n\033"));
	CHECK(facts.kind != ARCHIVE_OCI || facts.is_certain);
	return 0;
}
