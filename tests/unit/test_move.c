/*
 * What images are made of on their way in and out: recognised files, archives, sparse copies.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/archive_look.h"
#include "ops/oci_archive.h"
#include "ops/sniff.h"
#include "ops/spool.h"
#include "test.h"
#include "util/fs.h"
#include "util/mem.h"

#define BLOCK 512

/* The header of a tar's member, good enough for those who check its sum. */
static void put_member(int fd, const char *name, char type, const char *text)
{
	char block[BLOCK] = { 0 };
	unsigned sum = 0;
	size_t len = strlen(text);

	(void)stpncpy(block, name, 100);
	(void)snprintf(block + 124, 12, "%011o", (unsigned)len & 0xffff);
	memset(block + 148, ' ', 8);
	block[156] = type;
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)block[i];
	(void)snprintf(block + 148, 8, "%06o", sum);
	CHECK_INT(write(fd, block, BLOCK), BLOCK);
	if (!len)
		return;
	memset(block, 0, BLOCK);
	memcpy(block, text, len);
	CHECK_INT(write(fd, block, BLOCK), BLOCK);
}

/* A file of ours with zeros between two words. */
static int make_sparse(size_t size)
{
	int fd = memfd_create("from", MFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_INT(write(fd, "begin", 5), 5);
	CHECK_INT(pwrite(fd, "end", 3, (off_t)size - 3), 3);
	CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void test_spool(void)
{
	enum { SIZE = 3000001 };
	auto_fd from = make_sparse(SIZE);
	auto_fd to = memfd_create("to", MFD_CLOEXEC);
	auto_error err = NULL;
	Context ctx = { 0 };
	Spool spool = { .ctx = &ctx, .from_fd = from, .to_fd = to, .max_bytes = SIZE };
	char word[8] = { 0 };
	struct stat st;

	CHECK_INT(spool_read(&spool, 1000, &err), 0);
	CHECK_INT(spool.done, 1000);
	CHECK(!spool.has_ended);
	CHECK_INT(spool_read(&spool, UINT64_MAX, &err), 0);
	CHECK_INT(spool.done, SIZE);
	CHECK_INT(fstat(to, &st), 0);
	CHECK_INT(st.st_size, SIZE);
	CHECK(st.st_blocks * 512 < SIZE / 2);
	CHECK_INT(pread(to, word, 5, 0), 5);
	CHECK_STR(word, "begin");
	CHECK_INT(pread(to, word, 5, SIZE - 3), 3);
	CHECK(!memcmp(word, "end", 3));
	/* One byte more than may be. */
	CHECK_INT(lseek(from, 0, SEEK_SET), 0);
	spool = (Spool){ .ctx = &ctx, .from_fd = from, .to_fd = to, .max_bytes = SIZE - 1 };
	CHECK_INT(spool_read(&spool, UINT64_MAX, &err), -1);
	CHECK_INT(error_code(err), ERR_USAGE);
	CHECK(spool.done < SIZE);
}

static void test_sniff(void)
{
	static unsigned char data[SNIFF_BYTES];
	static const struct {
		size_t offset;
		const char *bytes;
		SniffKind kind;
		const char *what;
	} files[] = {
		{ 0, "\x1f\x8b", SNIFF_PACKED, "gzip" },
		{ 0, "\x28\xb5\x2f\xfd", SNIFF_PACKED, "zstd" },
		{ 0, "BZh9", SNIFF_PACKED, "bzip2" },
		{ 0, "QFI\xfb", SNIFF_QCOW2, "qcow2" },
		{ 0x438, "\x53\xef", SNIFF_DISK, "ext4" },
		{ 0x200, "EFI PART", SNIFF_DISK, "GPT" },
		{ 0x1fe, "\x55\xaa", SNIFF_DISK, "MBR" },
		{ 0x8001, "CD001", SNIFF_OTHER, "ISO 9660" },
		{ 0x10040, "_BHRfS_M", SNIFF_OTHER, "btrfs" },
		{ 0, "XFSB", SNIFF_OTHER, "XFS" },
		{ 0,
		  "\x7f"
		  "ELF",
		  SNIFF_OTHER, "ELF" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		Sniffed seen;

		memset(data, 0, sizeof(data));
		memcpy(data + files[i].offset, files[i].bytes, strlen(files[i].bytes));
		seen = sniff(data, sizeof(data));
		CHECK_INT(seen.kind, files[i].kind);
		CHECK(strstr(seen.what, files[i].what));
		/* What is not there is not looked at. */
		(void)sniff(data, files[i].offset + 1);
	}
	CHECK(strstr(sniff(data, 0).what, "empty"));
	CHECK(strstr(sniff("hello\n", 6).what, "text"));
}

static void test_archives(void)
{
	static const struct {
		const char *names[4];
		ArchiveKind kind;
		size_t images;
	} tars[] = {
		{ { "./", "etc/", "etc/passwd" }, ARCHIVE_ROOTFS, 0 },
		{ { "blobs/", "manifest.json", "repositories" }, ARCHIVE_DOCKER, 2 },
		{ { "./", "./oci-layout", "./index.json" }, ARCHIVE_OCI, 3 },
		/* docker since 25 writes both. */
		{ { "manifest.json", "index.json", "oci-layout" }, ARCHIVE_OCI, 3 },
		/* A root filesystem may have a file of that name. */
		{ { "manifest.json", "bin/" }, ARCHIVE_ROOTFS, 0 },
		{ { "oci-layout" }, ARCHIVE_ROOTFS, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(tars); i++) {
		auto_fd fd = memfd_create("tar", MFD_CLOEXEC);
		auto_archive_facts ArchiveFacts facts = { 0 };
		auto_error err = NULL;

		for (size_t j = 0; j < 4 && tars[i].names[j]; j++) {
			const char *name = tars[i].names[j], *text = "";

			if (strstr(name, "manifest.json"))
				text = "[{\"RepoTags\":[\"a:1\",\"b:2\"]},{\"RepoTags\":null}]";
			else if (strstr(name, "index.json"))
				text = "{\"manifests\":[{},{},{}]}";
			put_member(fd, name, str_ends_with(name, "/") ? '5' : '0', text);
		}
		CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
		CHECK_OK(archive_look(fd, &facts, &err), err);
		CHECK_INT(facts.kind, tars[i].kind);
		if (tars[i].kind != ARCHIVE_ROOTFS)
			CHECK_INT(facts.images, tars[i].images);
	}
}

static void make_blob(const char *dir, const char *digit, off_t size, const char *text)
{
	auto_free char *path = xasprintf("%s/sha256/%.64s", dir, digit);
	auto_fd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	CHECK_INT(ftruncate(fd, size), 0);
	if (text)
		CHECK_INT(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEX_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define HUGE  (9LL << 30)

/* A blob of more than 8 GiB: its size does not fit into the octal digits of a tar. */
static void test_huge_blob(void)
{
	static const char manifest[] = "{\"config\":{\"digest\":\"sha256:" HEX_B "\",\"size\":2},"
				       "\"layers\":[{\"digest\":\"sha256:" HEX_C
				       "\",\"size\":9663676416}]}";
	/* oci-layout and index.json with their texts, two directories, manifest and config with theirs, the header. */
	static unsigned char data[11 * BLOCK];
	char dir[] = "/tmp/ember-test-XXXXXX";
	auto_error err = NULL;
	auto_oci_blobs OciBlobs blobs = { 0 };
	auto_free char *sub = NULL;
	const unsigned char *size = data + 10 * BLOCK + 124;
	uint64_t value = 0;
	size_t have = 0;
	pid_t writer;
	int ends[2];

	CHECK(mkdtemp(dir));
	sub = path_join(dir, "sha256");
	CHECK_INT(mkdir(sub, 0700), 0);
	make_blob(dir, HEX_A, 0, manifest);
	make_blob(dir, HEX_B, 0, "{}");
	make_blob(dir, HEX_C, HUGE, NULL);
	CHECK_INT(oci_blobs_find(dir, "sha256:" HEX_A, &blobs, NULL), 1);
	CHECK_INT(blobs.count, 3);
	CHECK_INT(pipe(ends), 0);
	writer = fork();
	if (writer == 0) {
		(void)close(ends[0]);
		(void)oci_archive_write(ends[1], dir, &blobs, "huge", NULL, NULL, NULL);
		_exit(0);
	}
	(void)close(ends[1]);
	while (have < sizeof(data)) {
		ssize_t got = read(ends[0], data + have, sizeof(data) - have);

		CHECK(got > 0);
		have += (size_t)got;
	}
	(void)close(ends[0]);
	(void)kill(writer, SIGKILL);
	CHECK_STR((const char *)data + 10 * BLOCK, "blobs/sha256/" HEX_C);
	CHECK_INT(size[0], 0x80);
	for (size_t i = 1; i < 12; i++)
		value = value << 8 | size[i];
	CHECK_INT(value, HUGE);
	/* What is missing, or of another size, is not whole. */
	make_blob(dir, HEX_C, 5, NULL);
	oci_blobs_release(&blobs);
	CHECK_INT(oci_blobs_find(dir, "sha256:" HEX_A, &blobs, NULL), 0);
	CHECK_INT(oci_blobs_find(dir, "sha256:../../etc/passwd", &blobs, NULL), 0);
	CHECK_INT(oci_blobs_find(dir, NULL, &blobs, NULL), 0);
	CHECK_OK(fs_remove_tree(dir, &err), err);
}

static void test_sparse_copy(void)
{
	auto_fd from = memfd_create("from", MFD_CLOEXEC);
	auto_fd to = memfd_create("to", MFD_CLOEXEC);
	auto_error err = NULL;
	char text[8] = { 0 };
	struct stat st;

	CHECK_INT(ftruncate(from, 1LL << 30), 0);
	CHECK_INT(pwrite(from, "begin", 5, 0), 5);
	CHECK_INT(pwrite(from, "middle", 6, 300LL << 20), 6);
	CHECK_OK(fs_copy_contents(from, to, NULL, NULL, &err), err);
	CHECK_INT(fstat(to, &st), 0);
	CHECK_INT(st.st_size, 1LL << 30);
	CHECK(st.st_blocks < 4096);
	CHECK_INT(pread(to, text, 5, 0), 5);
	CHECK_STR(text, "begin");
	CHECK_INT(pread(to, text, 6, 300LL << 20), 6);
	CHECK_STR(text, "middle");
}

TEST_MAIN({ "files are known by their first bytes", test_sniff },
	  { "archives of images and root filesystems are told apart", test_archives },
	  { "a blob above 8 GiB has its size in the archive", test_huge_blob },
	  { "holes stay holes", test_sparse_copy },
	  { "what comes through a pipe has a bound, and its zeros take no space", test_spool });
