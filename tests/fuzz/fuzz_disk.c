/*
 * A disk from a stranger: find the root filesystem on it and read all of it into a tar. Whatever the bytes are, there is an
 * error that explains itself, or a tar that is whole; and the tar is no longer than the disk and its names explain.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "image/disk_probe.h"
#include "image/export.h"
#include "image/run_document.h"
#include "util/mem.h"

/* Per entry: headers, a path, a map, and attributes within their own limit, which a small disk cannot reach. */
#define MOST_PER_ENTRY (64u << 10)

static int read_disk(int fd, size_t size, Error **err)
{
	auto_fd output = open("/dev/null", O_WRONLY | O_CLOEXEC);
	auto_extfs Extfs fs = { 0 };
	auto_packer Packer *packer = packer_open(output, COMPRESSION_NONE);
	auto_packed Packed packed = { 0 };
	auto_image_config ImageConfig config = { 0 };
	ExportPlan plan = { .fs = &fs, .packer = packer, .is_layer = true };
	DiskPlace place;
	uint64_t entries;

	if (disk_probe(fd, size, &place, err) < 0)
		return -1;
	CHECK(place.offset < size && place.size <= size - place.offset);
	if (extfs_open(&fs, fd, place.offset, place.size, err) < 0)
		return -1;
	(void)run_document_find(&fs, &config, NULL);
	if (export_tree(&plan, &entries, err) < 0 || packer_finish(packer, &packed, err) < 0)
		return -1;
	CHECK(packed.size % 512 == 0);
	CHECK(packed.size <= size + entries * MOST_PER_ENTRY + 1024);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_fd fd = memfd_create("disk", MFD_CLOEXEC);
	auto_error err = NULL;

	CHECK(write(fd, data, size) == (ssize_t)size);
	if (read_disk(fd, size, &err) < 0)
		CHECK(err);
	return 0;
}
