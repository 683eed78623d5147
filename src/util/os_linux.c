#include "util/os.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>

#include "util/fs.h"
#include "util/mem.h"

#define COW_UNIT_BYTES 4096
#define EXTENT_BATCH   512

/* proc(5): field 22 of /proc/PID/stat is the start time, field 3 the state. The name in field 2 may
 * hold anything, so counting starts behind its last parenthesis. */
int os_process_start_time(pid_t pid, uint64_t *out_started)
{
	char path[64], text[1024], *at;
	auto_fd fd = -1;
	ssize_t len;

	if (pid <= 0) {
		errno = ESRCH;
		return -1;
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (len <= 0) {
		errno = ESRCH;
		return -1;
	}
	text[len] = '\0';
	at = strrchr(text, ')');
	if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X') {
		errno = ESRCH;
		return -1;
	}
	at += 2;
	for (int field = 3; field < 22 && at; field++) {
		at = strchr(at, ' ');
		if (at)
			at++;
	}
	if (!at || !isdigit((unsigned char)*at)) {
		errno = EINVAL;
		return -1;
	}
	*out_started = strtoull(at, NULL, 10);
	return 0;
}

uint64_t os_process_age_ms(uint64_t started)
{
	uint64_t started_ms = started * 1000 / (uint64_t)sysconf(_SC_CLK_TCK), now_ms;
	struct timespec now;

	/* Start times count the time that the host slept, too. */
	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	return now_ms > started_ms ? now_ms - started_ms : 0;
}

/* proc(5), /proc/PID/io: "rchar: N" and "wchar: N". */
int os_process_io(pid_t pid, uint64_t *out_read, uint64_t *out_written)
{
	char path[64], text[512];
	unsigned long long got = 0, put = 0;
	auto_fd fd = -1;
	ssize_t len;

	(void)snprintf(path, sizeof(path), "/proc/%d/io", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (len <= 0)
		return -1;
	text[len] = '\0';
	/* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
	if (sscanf(text, "rchar: %llu wchar: %llu", &got, &put) != 2) {
		errno = EINVAL;
		return -1;
	}
	*out_read = got;
	*out_written = put;
	return 0;
}

/* proc(5): the state of a thread follows the parenthesis behind its name; D is a wait that no signal ends. */
static bool is_in_disk_wait(const char *path)
{
	char text[512], *at;
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (len <= 0)
		return false;
	text[len] = '\0';
	at = strrchr(text, ')');
	return at && at[1] == ' ' && at[2] == 'D';
}

bool os_process_waits_for_disk(pid_t pid)
{
	auto_free char *dir = xasprintf("/proc/%d/task", (int)pid);
	auto_strv Strv threads = { 0 };

	(void)fs_list(dir, &threads, NULL);
	for (size_t i = 0; i < threads.count; i++) {
		auto_free char *path = xasprintf("%s/%s/stat", dir, threads.items[i]);

		if (is_in_disk_wait(path))
			return true;
	}
	return false;
}

int os_process_fd(pid_t pid)
{
	return pidfd_open(pid, 0); /* close-on-exec by nature */
}

int os_process_signal(int process_fd, int signum)
{
	return pidfd_send_signal(process_fd, signum, NULL, 0);
}

int os_die_with(pid_t parent, int signum)
{
	if (prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0) < 0)
		return -1;
	/* It may have ended before it was asked for. */
	if (getppid() == parent)
		return 0;
	errno = ESRCH;
	return -1;
}

/* False for what has gone and for the kernel's own threads, which have no words. */
static bool read_process(pid_t pid, OsProcess *out_process)
{
	auto_free char *dir = xasprintf("/proc/%d", (int)pid);
	auto_free char *path = path_join(dir, "cmdline");
	auto_free char *text = NULL;
	size_t len = 0;
	struct stat st;

	if (stat(dir, &st) < 0 || fs_read(path, 65536, &text, &len, NULL) < 0 || !len)
		return false;
	*out_process = (OsProcess){ .pid = pid, .uid = st.st_uid };
	for (size_t at = 0; at < len; at += strlen(text + at) + 1)
		strv_push(&out_process->argv, text + at);
	out_process->command_line = strv_join(&out_process->argv, " ");
	return true;
}

static void process_release(OsProcess *process)
{
	strv_release(&process->argv);
	free(process->command_line);
}

int os_process_scan(bool (*visit)(const OsProcess *process, void *arg), void *arg, Error **err)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	bool more = true;

	if (!dir)
		return error_set_errno(err, errno, "list processes in /proc");
	while (more && (entry = readdir(dir))) {
		CLEANUP(process_release) OsProcess process = { 0 };
		uint64_t pid;

		if (str_parse_u64(entry->d_name, INT_MAX, &pid) &&
		    read_process((pid_t)pid, &process))
			more = visit(&process, arg);
	}
	(void)closedir(dir);
	return 0;
}

const char *os_process_option(const OsProcess *process, const char *option)
{
	for (size_t i = 0; i + 1 < process->argv.count; i++)
		if (!strcmp(process->argv.items[i], option))
			return process->argv.items[i + 1];
	return NULL;
}

int os_clone_contents(int from_fd, int to_fd)
{
	return ioctl(to_fd, FICLONE, from_fd);
}

int os_open_nameless(const char *dir, mode_t mode)
{
	return open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
}

int os_name_file(int fd, const char *path)
{
	char self[64];

	/* AT_EMPTY_PATH would be the direct way, but is root's alone. */
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

int os_clone_file(int from_fd, const char *to, mode_t mode)
{
	auto_fd fd = open(to, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	int saved;

	if (fd < 0)
		return -1;
	if (ioctl(fd, FICLONE, from_fd) == 0)
		return 0;
	saved = errno;
	(void)unlink(to);
	errno = saved;
	return -1;
}

int os_probe_clone(const char *dir)
{
	static const char block[65536] = "ember";
	auto_fd from = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	auto_fd to = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (from < 0 || to < 0)
		return errno == EOPNOTSUPP || errno == EISDIR ? 0 : -1;
	if (write(from, block, sizeof(block)) != (ssize_t)sizeof(block))
		return -1;
	return ioctl(to, FICLONE, from) == 0;
}

/* Documentation/filesystems/fiemap.rst. An unknown place is also what an allocation that is delayed has. */
static OsPlace place_of(uint32_t flags)
{
	if (flags & (FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_DATA_ENCRYPTED))
		return OS_PLACE_UNKNOWN;
	if (flags & (FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL))
		return OS_PLACE_OWN;
	return (flags & FIEMAP_EXTENT_UNKNOWN) ? OS_PLACE_UNKNOWN : OS_PLACE_BLOCKS;
}

int os_extents(int fd, uint64_t size, OsExtentVisit visit, void *arg)
{
	/* A header with an array of no size at its end, and room for that. */
	_Alignas(struct fiemap) char
		bytes[sizeof(struct fiemap) + EXTENT_BATCH * sizeof(struct fiemap_extent)] = { 0 };
	struct fiemap *map = (struct fiemap *)bytes;
	uint64_t at = 0;
	bool is_last = false;

	while (at < size && !is_last) {
		*map = (struct fiemap){ .fm_start = at,
					.fm_length = size - at,
					.fm_flags = FIEMAP_FLAG_SYNC,
					.fm_extent_count = EXTENT_BATCH };
		if (ioctl(fd, FS_IOC_FIEMAP, map) < 0)
			return -1;
		is_last = map->fm_mapped_extents < EXTENT_BATCH;
		for (uint32_t i = 0; i < map->fm_mapped_extents; i++) {
			const struct fiemap_extent *found = &map->fm_extents[i];
			uint64_t from = found->fe_logical > at ? found->fe_logical : at;
			uint64_t to = found->fe_logical + found->fe_length;
			OsExtent extent = { .physical = found->fe_physical + from -
							found->fe_logical,
					    .place = place_of(found->fe_flags) };

			to = to < size ? to : size;
			if (to <= from)
				continue;
			extent.bytes = to - from;
			at = to;
			if (!visit(&extent, arg))
				return 0;
		}
	}
	return 0;
}

/* xfs(5), ioctl_xfs_fsgetxattr(2): the hint is inherited from the directory. */
int os_prefer_small_copies(const char *dir)
{
	auto_fd fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct fsxattr attributes;
	struct statfs st;

	if (fd < 0 || fstatfs(fd, &st) < 0)
		return -1;
	if (st.f_type != XFS_SUPER_MAGIC)
		return 0;
	if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
		return -1;
	attributes.fsx_xflags |= FS_XFLAG_COWEXTSIZE;
	attributes.fsx_cowextsize = COW_UNIT_BYTES;
	return ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
}

/* btrfs(5): files inherit the mark that chattr(1) calls `m`. */
int os_avoid_compression(const char *dir)
{
	auto_fd fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs st;
	int flags;

	if (fd < 0 || fstatfs(fd, &st) < 0)
		return -1;
	if (st.f_type != BTRFS_SUPER_MAGIC)
		return 0;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return -1;
	flags = (flags & ~FS_COMPR_FL) | FS_NOCOMP_FL;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

/* The options that the filesystem of a resolved path is mounted with, and where. Both owned. */
static int find_mount(const char *path, char **out_mount, char **out_options)
{
	FILE *table = setmntent("/proc/self/mounts", "re");
	const struct mntent *entry;
	size_t best = 0;

	while (table && (entry = getmntent(table)) != NULL) {
		size_t len = strlen(entry->mnt_dir);
		bool is_root = len == 1;

		if (len < best || strncmp(path, entry->mnt_dir, len) != 0 ||
		    (!is_root && path[len] != '/' && path[len] != '\0'))
			continue;
		best = len;
		str_assign(out_mount, entry->mnt_dir);
		str_assign(out_options, entry->mnt_opts);
	}
	if (table)
		(void)endmntent(table);
	return *out_mount ? 0 : -1;
}

bool os_compresses(const char *dir, char **out_mount)
{
	auto_fd fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_free char *path = realpath(dir, NULL);
	auto_free char *mount = NULL;
	auto_free char *options = NULL;
	struct statfs st;
	int flags = 0;
	bool is_forced, is_mounted_so;

	if (fd < 0 || !path || fstatfs(fd, &st) < 0 || st.f_type != BTRFS_SUPER_MAGIC ||
	    ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || find_mount(path, &mount, &options) < 0)
		return false;
	is_forced = strstr(options, "compress-force") != NULL;
	is_mounted_so = strstr(options, "compress=") != NULL && !(flags & FS_NOCOMP_FL);
	if (is_forced || is_mounted_so)
		*out_mount = steal(&mount);
	return is_forced || is_mounted_so || (flags & FS_COMPR_FL);
}

int os_sync_fd(int fd)
{
	return fsync(fd);
}

/* btrfs logs a new file together with its names and new parents (fs/btrfs/tree-log.c,
 * btrfs_log_inode_parent). On XFS a file and its name are made by one transaction, and forcing the log
 * up to the file's last change forces what stands before it in the log (fs/xfs/xfs_inode.c, xfs_create;
 * xfs_log.c, xfs_log_force_seq). A directory synced after it is one more commit, or a wait for nothing. */
bool os_sync_brings_name(const char *dir)
{
	struct statfs st;

	return statfs(dir, &st) == 0 &&
	       (st.f_type == BTRFS_SUPER_MAGIC || st.f_type == XFS_SUPER_MAGIC);
}

int os_memory_file(const char *label)
{
	return memfd_create(label, MFD_CLOEXEC);
}

char *os_file_name(int fd)
{
	return xasprintf("/proc/%d/fd/%d", (int)getpid(), fd);
}

ssize_t os_pipe_peek(int pipe_fd, void *data, size_t len)
{
	auto_fd read_end = -1;
	auto_fd write_end = -1;
	int ends[2];
	ssize_t got;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	read_end = ends[0];
	write_end = ends[1];
	got = tee(pipe_fd, write_end, len, SPLICE_F_NONBLOCK);
	return got > 0 ? read(read_end, data, (size_t)got) : got;
}

int os_rename_noreplace(const char *from, const char *to)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

int os_rename_exchange(const char *one, const char *other)
{
	return renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE);
}

int os_watch_file(int fd)
{
	auto_fd watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (watch < 0 || inotify_add_watch(watch, path, IN_MODIFY) < 0)
		return -1;
	return steal_fd(&watch);
}

int os_watch_dir(const char *dir)
{
	auto_fd watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (watch < 0 || inotify_add_watch(watch, dir, IN_CREATE | IN_MOVED_TO) < 0)
		return -1;
	return steal_fd(&watch);
}

void os_watch_clear(int watch_fd)
{
	char events[4096];

	while (read(watch_fd, events, sizeof(events)) > 0)
		;
}

/* It takes control groups v2, since crun refuses a mixture. Within a container root often has neither the right to make
 * namespaces nor a group to write to. */
bool os_can_contain(void)
{
	static const char groups[] = "/sys/fs/cgroup";
	struct statfs fs;

	if (statfs(groups, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		return false;
	return geteuid() != 0 ||
	       (prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) == 1 && access(groups, W_OK) == 0);
}

int os_executable(char **out_path)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (len < 0)
		return -1;
	path[len] = '\0';
	*out_path = xstrdup(path);
	return 0;
}

int os_executable_dir(char **out_dir)
{
	auto_free char *path = NULL;

	if (os_executable(&path) < 0)
		return -1;
	*out_dir = path_dirname(path);
	return 0;
}

int os_memory_bytes(uint64_t *out_bytes)
{
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return -1;
	*out_bytes = (uint64_t)info.totalram * info.mem_unit;
	return 0;
}

void os_random(void *data, size_t len)
{
	char *at = data;

	while (len) {
		ssize_t got = getrandom(at, len, 0);

		if (got < 0)
			continue; /* EINTR: the only failure left once the pool is ready */
		at += got;
		len -= (size_t)got;
	}
}

const char *os_machine(void)
{
	static struct utsname names; /* constant after the first call */

	(void)uname(&names);
	return names.machine;
}
