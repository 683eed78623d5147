/*
 * Who uses which bytes: counted by the store, and by a book in which this test writes down what it
 * does to every block. Both must agree to the block.
 */
#include "test.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/extents.h"
#include "storage/storages.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"
#include "util/process.h"

#define MIB	    (1ULL << 20)
#define BLOCK	    4096U
#define STORE_BYTES (512 * MIB)
#define DISK_BYTES  (16 * MIB)
#define BLOCKS	    (DISK_BYTES / BLOCK)
#define CLONES	    20
#define DISKS	    (CLONES + 1)

/* The same numbers in every run. */
static uint32_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state = random_state * 1664525U + 1013904223U;
	return (uint32_t)(((uint64_t)random_state * limit) >> 32);
}

/* ---- Extents that only this test knows of, in a space small enough to look at every place. */

#define PLACES	     2000
#define MADE_FILES   7
#define MADE_EXTENTS 60

typedef struct Made {
	OsExtent extents[MADE_FILES][MADE_EXTENTS];
	unsigned calls;
} Made;

static int show_made(void *arg, size_t file, OsExtentVisit visit, void *visit_arg)
{
	Made *made = arg;

	made->calls++;
	for (size_t i = 0; i < MADE_EXTENTS; i++)
		if (!visit(&made->extents[file][i], visit_arg))
			break;
	return 0;
}

static void make_extents(Made *made)
{
	for (size_t file = 0; file < MADE_FILES; file++)
		for (size_t i = 0; i < MADE_EXTENTS; i++) {
			OsExtent *extent = &made->extents[file][i];

			extent->physical = random_below(PLACES - 40);
			extent->bytes = random_below(40);
			extent->place = random_below(50) ? OS_PLACE_BLOCKS : OS_PLACE_OWN;
			/* Often the next piece lies right behind the last. */
			if (i > 0 && random_below(3) == 0 &&
			    extent[-1].physical + extent[-1].bytes < PLACES - 40)
				extent->physical = extent[-1].physical + extent[-1].bytes;
		}
}

static void count_naively(const Made *made, const size_t *owners, ExtentCount *counts,
			  uint64_t *out_unique)
{
	static bool maps[MADE_FILES][PLACES];

	memset(maps, 0, sizeof(maps));
	memset(counts, 0, MADE_FILES * sizeof(*counts));
	*out_unique = 0;
	for (size_t file = 0; file < MADE_FILES; file++)
		for (size_t i = 0; i < MADE_EXTENTS; i++) {
			const OsExtent *extent = &made->extents[file][i];

			if (extent->place == OS_PLACE_OWN) {
				counts[owners[file]].mapped_bytes += extent->bytes;
				counts[owners[file]].exclusive_bytes += extent->bytes;
				*out_unique += extent->bytes;
				continue;
			}
			for (uint64_t at = 0; at < extent->bytes; at++)
				maps[owners[file]][extent->physical + at] = true;
		}
	for (size_t place = 0; place < PLACES; place++) {
		size_t mapping = 0, last = 0;

		for (size_t owner = 0; owner < MADE_FILES; owner++)
			if (maps[owner][place]) {
				counts[owner].mapped_bytes++;
				mapping++;
				last = owner;
			}
		*out_unique += mapping > 0;
		if (mapping == 1)
			counts[last].exclusive_bytes++;
	}
}

static void test_made_extents(void)
{
	static const size_t held[] = { 2, 3, 8, 50, 300, EXTENTS_HELD };
	static Made made;
	/* Each file for itself; and some taken together. */
	static const size_t owners[2][MADE_FILES] = { { 0, 1, 2, 3, 4, 5, 6 },
						      { 2, 0, 1, 0, 3, 2, 0 } };
	ExtentCount want[2][MADE_FILES], got[2][MADE_FILES];
	ExtentView views[] = { { NULL, MADE_FILES, got[0] }, { owners[1], MADE_FILES, got[1] } };
	uint64_t want_unique, got_unique;
	ExtentSet set = { show_made, &made, MADE_FILES };

	random_state = 1;
	for (size_t round = 0; round < 20; round++) {
		make_extents(&made);
		for (size_t view = 0; view < 2; view++)
			count_naively(&made, owners[view], want[view], &want_unique);
		for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
			made.calls = 0;
			extents_count(&set, views, 2, held[i], &got_unique);
			CHECK_INT(got_unique, want_unique);
			for (size_t at = 0; at < 2 * MADE_FILES; at++) {
				const ExtentCount *is = &got[at / MADE_FILES][at % MADE_FILES];
				const ExtentCount *ought = &want[at / MADE_FILES][at % MADE_FILES];

				CHECK_INT(is->mapped_bytes, ought->mapped_bytes);
				CHECK_INT(is->exclusive_bytes, ought->exclusive_bytes);
				CHECK(!is->is_unknown);
			}
			/* Few are held at a time: that takes turns; many: one look at each file. */
			CHECK((made.calls == MADE_FILES) ==
			      (held[i] > 2 * MADE_FILES * MADE_EXTENTS));
		}
	}
}

/* A file that lies, and one that cannot be read, are unknown; the others are counted. */
static int show_liars(void *arg UNUSED, size_t file, OsExtentVisit visit, void *visit_arg)
{
	static const OsExtent compressed = { 100, 50, OS_PLACE_UNKNOWN };
	static const OsExtent beyond = { UINT64_MAX - 10, 50, OS_PLACE_BLOCKS };
	static const OsExtent plain = { 1000, 50, OS_PLACE_BLOCKS };

	if (file == 2)
		return -1;
	(void)visit(&plain, visit_arg);
	(void)visit(file == 0 ? &compressed : file == 1 ? &beyond : &plain, visit_arg);
	return 0;
}

static void test_liars(void)
{
	ExtentCount counts[4];
	uint64_t unique;

	extents_count(&(ExtentSet){ show_liars, NULL, 4 }, &(ExtentView){ NULL, 4, counts }, 1, 64,
		      &unique);
	CHECK(counts[0].is_unknown && counts[1].is_unknown && counts[2].is_unknown);
	CHECK(!counts[3].is_unknown);
	CHECK_INT(counts[3].mapped_bytes, 50); /* the same blocks twice in one file */
	CHECK_INT(counts[3].exclusive_bytes, 0);
	CHECK_INT(unique, 50);
	extents_count(&(ExtentSet){ show_liars, NULL, 0 }, &(ExtentView){ NULL, 0, counts }, 1, 64,
		      &unique);
	CHECK_INT(unique, 0);
}

/* ---- A real store. */

static char root[64];
static char *fs_dir, *store_dir;
static bool is_mounted;
static StorageSite site;
static StoragePool *pool;

static int run(const char *program, const char *a, const char *b, const char *c, const char *d)
{
	auto_command Command cmd = { 0 };
	auto_error err = NULL;

	command_init(&cmd, program, a, b, c, d, NULL);
	return command_run(&cmd, deadline_in_ms(60000), &err);
}

static void leave_store(void)
{
	if (pool)
		reflink_storage.close(steal(&pool));
	if (is_mounted)
		CHECK(umount2(fs_dir, 0) == 0);
	is_mounted = false;
	if (root[0])
		(void)fs_remove_tree(root, NULL);
	root[0] = '\0';
	free(steal(&fs_dir));
	free(steal(&store_dir));
}

static void enter_store(const char *kind, const char *mount_options)
{
	auto_error err = NULL;
	auto_free char *file = NULL;
	auto_free char *mkfs = xasprintf("mkfs.%s", kind);
	auto_fd fd = -1;
	bool adopted;

	leave_store();
	if (geteuid() != 0)
		test_skip("only root can mount a filesystem to count on");
	(void)snprintf(root, sizeof(root), "/tmp/ember-usage-XXXXXX");
	CHECK(mkdtemp(root));
	file = path_join(root, "fs.img");
	fs_dir = path_join(root, "fs");
	store_dir = path_join(fs_dir, "store");
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && ftruncate(fd, STORE_BYTES) == 0 && mkdir(fs_dir, 0700) == 0);
	if (run(mkfs, "-q", file, NULL, NULL) < 0 ||
	    run("mount", "-o", mount_options, file, fs_dir) < 0)
		test_skip("cannot make and mount that filesystem");
	is_mounted = true;
	site = (StorageSite){ .state_dir = fs_dir, .store_dir = store_dir, .instance_id = "ab12" };
	CHECK_OK(reflink_storage.init(&site, &adopted, &err), err);
	CHECK_OK(reflink_storage.open(&site, &pool, &err), err);
}

static const char *disk_name(size_t disk)
{
	static char name[64];

	(void)snprintf(name, sizeof(name), "%08zx-0000-4000-8000-000000000000", disk);
	return name;
}

static int open_disk(size_t disk, int flags)
{
	auto_free char *path = reflink_storage.path(&site, disk_name(disk));
	int fd = open(path, flags | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	return fd;
}

static void clone_disk(size_t from, size_t to)
{
	auto_error err = NULL;
	auto_free char *source = xstrdup(disk_name(from));

	CHECK_OK(reflink_storage.clone(pool, source, disk_name(to), 0, NULL, &err), err);
}

static StorageUsage measure(void)
{
	auto_error err = NULL;
	StorageUsage usage = { 0 };

	CHECK_OK(reflink_storage.usage(pool, NULL, 0, &usage, &err), err);
	return usage;
}

static const VolumeUsage *find(const StorageUsage *usage, size_t disk)
{
	for (size_t i = 0; i < usage->count; i++)
		if (!strcmp(usage->items[i].volume, disk_name(disk)))
			return &usage->items[i];
	test_fail();
}

/* The book: which writing a block of a disk comes from; 0: nobody wrote it. */
static uint32_t book[DISKS][BLOCKS];
static uint32_t writings;

static void write_blocks(size_t disk, uint32_t first, uint32_t count)
{
	static char data[64 * BLOCK];
	auto_fd fd = open_disk(disk, O_WRONLY);

	CHECK(count <= 64 && first + count <= BLOCKS);
	for (size_t i = 0; i < count * BLOCK; i++)
		data[i] = (char)random_below(256);
	CHECK(pwrite(fd, data, (size_t)count * BLOCK, (off_t)first * BLOCK) ==
	      (ssize_t)count * BLOCK);
	for (uint32_t i = 0; i < count; i++)
		book[disk][first + i] = ++writings;
}

static void punch_blocks(size_t disk, uint32_t first, uint32_t count)
{
	auto_fd fd = open_disk(disk, O_WRONLY);

	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)first * BLOCK,
			(off_t)count * BLOCK) == 0);
	for (uint32_t i = 0; i < count; i++)
		book[disk][first + i] = 0;
}

/* Holes get blocks of their own, which nobody has written to. */
static void reserve_blocks(size_t disk, uint32_t first, uint32_t count)
{
	auto_fd fd = open_disk(disk, O_WRONLY);

	CHECK(fallocate(fd, 0, (off_t)first * BLOCK, (off_t)count * BLOCK) == 0);
	for (uint32_t i = 0; i < count; i++)
		if (book[disk][first + i] == 0)
			book[disk][first + i] = ++writings;
}

static void compare_with_book(void)
{
	auto_free uint32_t *users = xcalloc(writings + 1, sizeof(*users));
	auto_storage_usage StorageUsage usage = measure();
	uint64_t unique = 0;

	CHECK_INT(usage.count, DISKS);
	for (size_t disk = 0; disk < DISKS; disk++)
		for (size_t i = 0; i < BLOCKS; i++)
			users[book[disk][i]]++;
	for (uint32_t i = 1; i <= writings; i++)
		unique += users[i] > 0;
	for (size_t disk = 0; disk < DISKS; disk++) {
		const VolumeUsage *found = find(&usage, disk);
		uint64_t referenced = 0, exclusive = 0;

		for (size_t i = 0; i < BLOCKS; i++) {
			referenced += book[disk][i] != 0;
			exclusive += book[disk][i] != 0 && users[book[disk][i]] == 1;
		}
		CHECK_INT(found->provisioned_bytes, DISK_BYTES);
		CHECK_INT(found->referenced_bytes, referenced * BLOCK);
		CHECK_INT(found->exclusive_bytes, exclusive * BLOCK);
		CHECK_INT(found->logical_bytes, found->referenced_bytes);
		CHECK(found->exclusive_bytes <= found->referenced_bytes);
		CHECK(found->referenced_bytes <= found->provisioned_bytes);
	}
	CHECK_INT(usage.allocated_bytes, unique * BLOCK);
	CHECK_INT(usage.logical_bytes, usage.allocated_bytes);
	CHECK_INT(usage.addressable_bytes, DISKS * DISK_BYTES);
	CHECK_INT(usage.reserved_bytes, 0);
	CHECK(usage.capacity_bytes > 0 && usage.capacity_bytes <= STORE_BYTES);
}

static void scribble(size_t disk)
{
	for (size_t i = 0; i < 40; i++)
		write_blocks(disk, random_below(BLOCKS - 8), 1 + random_below(8));
	for (size_t i = 0; i < 6; i++)
		punch_blocks(disk, random_below(BLOCKS - 16), 1 + random_below(16));
}

static void make_base(void)
{
	auto_fd fd = open_disk(0, O_RDWR | O_CREAT);

	CHECK(ftruncate(fd, (off_t)DISK_BYTES) == 0);
	for (uint32_t at = 0; at < BLOCKS / 2; at += 64)
		write_blocks(0, at, 64);
}

static void known_pattern(const char *kind)
{
	enter_store(kind, "loop");
	random_state = 7;
	writings = 0;
	memset(book, 0, sizeof(book));
	make_base();
	/* Clones of the base, and of clones: what they have in common is shared by two, three, many. */
	for (size_t disk = 1; disk < DISKS; disk++) {
		size_t from = disk % 3 ? 0 : disk - 1;

		clone_disk(from, disk);
		memcpy(book[disk], book[from], sizeof(book[disk]));
		scribble(disk);
	}
	compare_with_book(); /* the last writes are still in memory */
	scribble(0);
	for (size_t disk = 0; disk < DISKS; disk += 4) {
		reserve_blocks(disk, random_below(BLOCKS - 256), 256);
		write_blocks(disk, random_below(BLOCKS - 8), 8);
	}
	compare_with_book();
	leave_store();
}

static void test_pattern_xfs(void)
{
	known_pattern("xfs");
}

static void test_pattern_btrfs(void)
{
	known_pattern("btrfs");
}

/* Data so small that Btrfs keeps it among its metadata belongs to its file alone. */
static void test_inline(void)
{
	auto_storage_usage StorageUsage usage = { 0 };
	char data[1000];
	int fd;

	enter_store("btrfs", "loop");
	memset(data, 'x', sizeof(data));
	fd = open_disk(0, O_RDWR | O_CREAT);
	CHECK(write(fd, data, sizeof(data)) == sizeof(data));
	(void)close(fd);
	clone_disk(0, 1);
	usage = measure();
	for (size_t disk = 0; disk < 2; disk++) {
		CHECK_INT(find(&usage, disk)->referenced_bytes, sizeof(data));
		CHECK_INT(find(&usage, disk)->exclusive_bytes, sizeof(data));
	}
	CHECK_INT(usage.allocated_bytes, 2 * sizeof(data));
	leave_store();
}

/* On compressed data the places are no places, so nothing is said about the disks that have it. */
static void test_compressed(void)
{
	static char data[256 * 1024];
	auto_storage_usage StorageUsage usage = { 0 };

	enter_store("btrfs", "loop,compress-force=zstd");
	for (size_t disk = 0; disk < 2; disk++) {
		auto_fd fd = open_disk(disk, O_RDWR | O_CREAT);

		CHECK(ftruncate(fd, (off_t)DISK_BYTES) == 0);
		CHECK(disk == 1 || write(fd, data, sizeof(data)) == sizeof(data));
	}
	usage = measure();
	CHECK_INT(find(&usage, 0)->provisioned_bytes, DISK_BYTES);
	CHECK(find(&usage, 0)->referenced_bytes == STORAGE_UNKNOWN);
	CHECK(find(&usage, 0)->exclusive_bytes == STORAGE_UNKNOWN);
	CHECK(find(&usage, 0)->logical_bytes == STORAGE_UNKNOWN);
	CHECK_INT(find(&usage, 1)->referenced_bytes, 0);
	CHECK(usage.allocated_bytes == STORAGE_UNKNOWN);
	CHECK(usage.logical_bytes == STORAGE_UNKNOWN);
	CHECK_INT(usage.addressable_bytes, 2 * DISK_BYTES);
	leave_store();
}

/* What a disk has in common with its own clone only is theirs together. */
static void test_together(void)
{
	enum { FAMILY = 2, OTHER = 1 };
	auto_error err = NULL;
	Strv groups[2] = { 0 };
	auto_storage_usage StorageUsage usage = { 0 };

	enter_store("xfs", "loop");
	random_state = 3;
	make_base();
	clone_disk(0, 1);
	write_blocks(1, 100, 10);
	clone_disk(1, 2);
	write_blocks(1, 300, 4);
	write_blocks(2, 300, 3);
	for (size_t disk = 1; disk <= FAMILY; disk++)
		strv_push(&groups[0], disk_name(disk));
	strv_push(&groups[OTHER], disk_name(0));
	strv_push(&groups[OTHER], disk_name(9)); /* it is not there */
	CHECK_OK(reflink_storage.usage(pool, groups, 2, &usage, &err), err);
	CHECK_INT(usage.groups[0].exclusive_bytes, (10 + 4 + 3) * BLOCK);
	/* All of the base but where both have blocks of their own, and those. */
	CHECK_INT(usage.groups[0].referenced_bytes, (BLOCKS / 2 - 10 - 3 + 10 + 4 + 3) * BLOCK);
	/* Where both of the family have blocks of their own, the base's are its alone. */
	CHECK_INT(usage.groups[OTHER].exclusive_bytes, (10 + 3) * BLOCK);
	CHECK_INT(usage.groups[OTHER].referenced_bytes, BLOCKS / 2 * BLOCK);
	CHECK_INT(usage.allocated_bytes, (BLOCKS / 2 + 10 + 4 + 3) * BLOCK);
	strv_release(&groups[0]);
	strv_release(&groups[OTHER]);
	leave_store();
}

/* An image that is being imported counts too, and what is no volume does not. */
static void test_strangers(void)
{
	auto_error err = NULL;
	auto_storage_usage StorageUsage usage = { 0 };
	auto_free char *part = NULL;
	auto_free char *note = NULL;

	enter_store("xfs", "loop");
	CHECK_OK(reflink_storage.import_path(pool, disk_name(0), &part, &err), err);
	CHECK_OK(fs_write_new(part, "0123456789", 10, 0600, &err), err);
	note = path_join(store_dir, "note.txt");
	CHECK_OK(fs_write_new(note, "0123456789", 10, 0600, &err), err);
	usage = measure();
	CHECK_INT(usage.count, 1);
	CHECK_INT(find(&usage, 0)->referenced_bytes, 10);
	leave_store();
}

TEST_MAIN({ "made extents, held few at a time", test_made_extents }, { "liars", test_liars },
	  { "a known pattern on XFS", test_pattern_xfs },
	  { "a known pattern on Btrfs", test_pattern_btrfs },
	  { "disks that are counted together", test_together },
	  { "data among the metadata", test_inline }, { "compressed data", test_compressed },
	  { "strangers in the store", test_strangers });
