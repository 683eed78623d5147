#include "mounts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"

typedef struct Mount {
	const char *type, *at, *options;
	unsigned long flags;
} Mount;

static void mount_all(const Mount *table, size_t count)
{
	for (const Mount *entry = table; entry < table + count; entry++) {
		struct stat above, at;
		char parent[64];

		(void)mkdir(entry->at, 0755);
		/* Mounted already (by ember-boot, or the kernel) when it is another device. */
		(void)snprintf(parent, sizeof(parent), "%s/..", entry->at);
		if (stat(parent, &above) == 0 && stat(entry->at, &at) == 0 &&
		    above.st_dev != at.st_dev)
			continue;
		if (mount(entry->type, entry->at, entry->type, entry->flags, entry->options) < 0)
			complain("cannot mount %s: %s", entry->at, strerror(errno));
	}
}

void mounts_base(void)
{
	static const Mount table[] = {
		{ "proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "devtmpfs", "/dev", "mode=0755", MS_NOSUID },
		{ "tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV },
	};
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" },
		{ "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" },
		{ "/proc/self/fd/2", "/dev/stderr" },
	};

	mount_all(table, ARRAY_SIZE(table));
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		(void)symlink(links[i][0], links[i][1]);
	(void)mkdir("/run/ember", 0755);
}

void mounts_full(void)
{
	static const Mount table[] = {
		{ "devpts", "/dev/pts", "gid=5,mode=0620,ptmxmode=0666", MS_NOSUID | MS_NOEXEC },
		{ "tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV },
		{ "cgroup2", "/sys/fs/cgroup", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	};

	mount_all(table, ARRAY_SIZE(table));
	/* /tmp stays on the disk, where there is room; the barest of images lack it. */
	if (mkdir("/tmp", 01777) == 0)
		(void)chmod("/tmp", 01777);
}
