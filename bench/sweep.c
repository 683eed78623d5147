/*
 * sweep make DIR: fill the store DIR with 1 base and 20 clones of it in a known pattern of writes, and
 * print, as JSON, what each reaches and has to itself by the book that was kept of them.
 * sweep fiemap DIR: ask the filesystem for the extents of all its volumes, and for nothing else.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench.h"

#define BLOCK  4096U
#define BLOCKS (256U * 1024 * 1024 / BLOCK)
#define CLONES 20
#define DISKS  (CLONES + 1)
#define HOLES  350
#define WRITES 340
#define BATCH  512

/* Which writing each block of a disk comes from; 0: a hole. */
static uint32_t book[DISKS][BLOCKS];
static uint32_t writings;
static uint32_t random_state = 1;

_Noreturn static void fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static uint32_t random_below(uint32_t limit)
{
	random_state = random_state * 1664525U + 1013904223U;
	return (uint32_t)(((uint64_t)random_state * limit) >> 32);
}

static const char *disk_path(const char *dir, size_t disk)
{
	static char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%08zx-0000-4000-8000-00000000beef.raw", dir, disk);
	return path;
}

static void write_blocks(int fd, size_t disk, uint32_t first, uint32_t count)
{
	static char data[64 * BLOCK];

	for (size_t i = 0; i < count * BLOCK; i += sizeof(uint32_t))
		memcpy(data + i, &(uint32_t){ random_below(UINT32_MAX) }, sizeof(uint32_t));
	if (pwrite(fd, data, (size_t)count * BLOCK, (off_t)first * BLOCK) != (ssize_t)count * BLOCK)
		fail("write");
	for (uint32_t i = 0; i < count; i++)
		book[disk][first + i] = ++writings;
}

static void punch(int fd, size_t disk, uint32_t block)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)block * BLOCK, BLOCK) <
	    0)
		fail("punch a hole");
	book[disk][block] = 0;
}

static void make_disk(const char *dir, size_t disk, int base)
{
	int fd = open(disk_path(dir, disk), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		fail(disk_path(dir, disk));
	if (base < 0) {
		if (ftruncate(fd, (off_t)BLOCKS * BLOCK) < 0)
			fail("truncate");
		for (uint32_t at = 0; at < BLOCKS; at += 64)
			write_blocks(fd, disk, at, 64);
		for (size_t i = 0; i < HOLES; i++)
			punch(fd, disk, random_below(BLOCKS));
	} else {
		if (ioctl(fd, FICLONE, base) < 0)
			fail("clone");
		memcpy(book[disk], book[0], sizeof(book[disk]));
		for (size_t i = 0; i < WRITES; i++)
			write_blocks(fd, disk, random_below(BLOCKS), 1);
	}
	if (fsync(fd) < 0)
		fail("fsync");
	(void)close(fd);
}

static void print_book(void)
{
	uint32_t *users = calloc((size_t)writings + 1, sizeof(*users));
	uint64_t unique = 0;

	if (!users)
		fail("calloc");
	for (size_t disk = 0; disk < DISKS; disk++)
		for (size_t i = 0; i < BLOCKS; i++)
			users[book[disk][i]]++;
	for (size_t i = 1; i <= writings; i++)
		unique += users[i] > 0;
	printf("{\"allocated\":%" PRIu64 ",\"disks\":{", unique * BLOCK);
	for (size_t disk = 0; disk < DISKS; disk++) {
		uint64_t referenced = 0, exclusive = 0;

		for (size_t i = 0; i < BLOCKS; i++) {
			referenced += book[disk][i] != 0;
			exclusive += book[disk][i] != 0 && users[book[disk][i]] == 1;
		}
		printf("%s\"%08zx-0000-4000-8000-00000000beef\":[%" PRIu64 ",%" PRIu64 "]",
		       disk ? "," : "", disk, referenced * BLOCK, exclusive * BLOCK);
	}
	printf("}}\n");
	free(users);
}

static void make(const char *dir)
{
	int base;

	make_disk(dir, 0, -1);
	base = open(disk_path(dir, 0), O_RDONLY | O_CLOEXEC);
	if (base < 0)
		fail("open the base");
	for (size_t disk = 1; disk < DISKS; disk++)
		make_disk(dir, disk, base);
	(void)close(base);
	print_book();
}

static size_t count_extents(int fd)
{
	static union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + BATCH * sizeof(struct fiemap_extent)];
	} batch;
	uint64_t at = 0;
	size_t count = 0;

	do {
		batch.map = (struct fiemap){ .fm_start = at,
					     .fm_length = FIEMAP_MAX_OFFSET - at,
					     .fm_flags = FIEMAP_FLAG_SYNC,
					     .fm_extent_count = BATCH };
		if (ioctl(fd, FS_IOC_FIEMAP, &batch.map) < 0)
			fail("FIEMAP");
		count += batch.map.fm_mapped_extents;
		if (batch.map.fm_mapped_extents > 0) {
			const struct fiemap_extent *last =
				&batch.map.fm_extents[batch.map.fm_mapped_extents - 1];

			at = last->fe_logical + last->fe_length;
		}
	} while (batch.map.fm_mapped_extents == BATCH);
	return count;
}

static void fiemap(const char *path)
{
	DIR *dir = opendir(path);
	size_t count = 0;

	if (!dir)
		fail(path);
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
		int fd;

		if (!strstr(entry->d_name, ".raw"))
			continue;
		fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			fail(entry->d_name);
		count += count_extents(fd);
		(void)close(fd);
	}
	(void)closedir(dir);
	printf("{\"extents\":%zu}\n", count);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "make"))
		make(argv[2]);
	else if (argc == 3 && !strcmp(argv[1], "fiemap"))
		fiemap(argv[2]);
	else
		(void)fprintf(stderr, "usage: sweep make|fiemap DIR\n");
	return argc == 3 ? EXIT_SUCCESS : 2;
}
