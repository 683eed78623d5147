#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "apart.h"
#include "base.h"
#include "freeze.h"

/* From linux/fs.h. */
#define FIFREEZE _IOWR('X', 119, int)
#define FITHAW	 _IOWR('X', 120, int)

#define FILESYSTEMS_MAX 64
#define FD_HOLD		STDIN_FILENO
#define FD_REPORT	STDOUT_FILENO

typedef struct Filesystem {
	int fd;
	dev_t device;
	bool is_frozen;
	char path[FREEZE_PATH_MAX];
} Filesystem;

typedef struct Filesystems {
	Filesystem items[FILESYSTEMS_MAX];
	size_t count;
} Filesystems;

static uint64_t now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* A filesystem is mounted in several places where there are bind mounts: one of them will do. */
static void add(Filesystems *list, const char *path)
{
	auto_fd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0 || list->count == FILESYSTEMS_MAX ||
	    strlen(path) >= FREEZE_PATH_MAX)
		return;
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].device == status.st_dev)
			return;
	list->items[list->count] = (Filesystem){ .fd = steal_fd(&fd), .device = status.st_dev };
	memcpy(list->items[list->count++].path, path, strlen(path) + 1);
}

/* Those that are on a device and may be written to, in the order in which they were mounted. */
static void find(Filesystems *list)
{
	FILE *table = setmntent("/proc/self/mounts", "re");
	const struct mntent *entry;

	while (table && (entry = getmntent(table)) != NULL)
		if (strncmp(entry->mnt_fsname, "/dev/", 5) == 0 &&
		    strncmp(entry->mnt_opts, "rw", 2) == 0)
			add(list, entry->mnt_dir);
	if (table)
		(void)endmntent(table);
}

static void thaw(Filesystems *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].is_frozen)
			(void)ioctl(list->items[i].fd, FITHAW, 0);
}

/*
 * The last one mounted first: it may lie in a file of another one, to which its last bytes are written. Some filesystems
 * cannot be frozen; what is on them was synced a moment ago. NULL, or the one that failed, with errno.
 */
static const Filesystem *freeze(Filesystems *list)
{
	bool is_any = false;

	for (size_t i = list->count; i-- > 0;) {
		Filesystem *one = &list->items[i];

		one->is_frozen = ioctl(one->fd, FIFREEZE, 0) == 0;
		is_any |= one->is_frozen;
		if (!one->is_frozen && errno != EOPNOTSUPP && errno != ENOTTY)
			return one;
	}
	errno = EOPNOTSUPP;
	return is_any || list->count == 0 ? NULL : &list->items[0];
}

static void say(const FreezeReport *report)
{
	/* When nobody reads it any more, nobody needs it. */
	if (write(FD_REPORT, report, sizeof(*report)) < 0)
		return;
}

/* Nothing of this process may have to wait for a disk, no signal ends it, and it is the last to be killed for want of
 * memory. */
static void become_unstoppable(void)
{
	auto_fd fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	sigset_t all;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	if (fd >= 0)
		(void)write_all(fd, "-1000", 5);
	(void)mlockall(MCL_CURRENT | MCL_FUTURE);
}

static void run(const void *arg)
{
	const uint32_t *hold_ms = arg;
	static Filesystems list;
	FreezeReport report = { .word = FREEZE_DONE };
	struct pollfd hold = { .fd = FD_HOLD };
	const Filesystem *failed;
	uint64_t began;

	become_unstoppable();
	find(&list);
	/* What is dirty now is written while others may still write: the freeze itself finds little to do. */
	for (size_t i = 0; i < list.count; i++)
		(void)syncfs(list.items[i].fd);
	began = now_us();
	failed = freeze(&list);
	if (failed) {
		report.word = FREEZE_FAILED;
		report.errnum = errno;
		memcpy(report.path, failed->path, sizeof(report.path));
		thaw(&list);
		say(&report);
		return;
	}
	say(&report);
	/* POLLHUP: the other end was closed. */
	report.is_expired = poll(&hold, 1, (int)*hold_ms) == 0;
	thaw(&list);
	report.word = FREEZE_THAWED;
	report.frozen_us = now_us() - began;
	say(&report);
}

int freezer_start(uint32_t hold_ms, int *out_report, int *out_hold)
{
	int report[2], hold[2], started;

	if (pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	if (pipe2(hold, O_CLOEXEC) < 0) {
		close_fd(&report[0]);
		close_fd(&report[1]);
		return -1;
	}
	started = apart_start(hold[0], report[1], run, &hold_ms);
	close_fd(&report[1]);
	close_fd(&hold[0]);
	if (started < 0) {
		close_fd(&report[0]);
		close_fd(&hold[1]);
		errno = EAGAIN;
		return -1;
	}
	*out_report = report[0];
	*out_hold = hold[1];
	return 0;
}
