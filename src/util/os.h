/*
 * What kernels do differently. Meson picks os_linux.c or os_darwin.c; shared code sees only these
 * prototypes and has no #ifdef. Plain functions return 0, or -1 with errno set.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/deadline.h"
#include "util/error.h"
#include "util/str.h"

/* When the process began, in the kernel's own unit (clock ticks since boot on Linux): with the pid
 * it names a process for good. -1 with ESRCH when there is none, or only a zombie. */
int os_process_start_time(pid_t pid, uint64_t *out_started);
/* How long ago that was. */
uint64_t os_process_age_ms(uint64_t started);
/* Bytes that a process of ours has read and written so far, whatever they went through: files, pipes, sockets. */
int os_process_io(pid_t pid, uint64_t *out_read, uint64_t *out_written);
/* Is one of its threads waiting for a disk right now, as in a long fsync? */
bool os_process_waits_for_disk(pid_t pid);
/* An fd that becomes readable when the process ends. */
int os_process_fd(pid_t pid);
/* Signal the process behind that fd. */
int os_process_signal(int process_fd, int signum);

/* From now on we get that signal when `parent` ends, which was our parent when it told us its pid. ESRCH: it has ended
 * already. An execve() changes nothing about it, a change of user does. */
int os_die_with(pid_t parent, int signum);

typedef struct OsProcess {
	pid_t pid;
	Strv argv;
	char *command_line; /* the same, joined by spaces */
	uid_t uid;
} OsProcess;
/* The word behind `option` in its command line, or NULL. */
const char *os_process_option(const OsProcess *process, const char *option);
/* Every process of this machine that we may look at; for reconcile only. `visit` returns false to
 * stop. */
int os_process_scan(bool (*visit)(const OsProcess *process, void *arg), void *arg, Error **err);

/* A directory entry `to` that shares all blocks of the open file (FICLONE, clonefile). `to` is
 * created. */
int os_clone_file(int from_fd, const char *to, mode_t mode);
/* Make the empty open file `to_fd` share all blocks of the other (FICLONE). */
int os_clone_contents(int from_fd, int to_fd);
/* A file in that directory that has no name until os_name_file() gives it one: whatever ends us, nothing is left of
 * it. EOPNOTSUPP where the filesystem has no such thing. */
int os_open_nameless(const char *dir, mode_t mode);
/* EEXIST when there is a file of that name. */
int os_name_file(int fd, const char *path);
/* Do files in that directory clone? 1 yes, 0 no, -1 cannot write there. Tried with files that have
 * no name, so that nothing is left behind. */
int os_probe_clone(const char *dir);
/* Files made in that directory from now on copy shared blocks in small units when they are written
 * to, where the filesystem has such a choice (XFS reserves 128 KiB for each 4 KiB otherwise). */
int os_prefer_small_copies(const char *dir);
/* Files made in that directory from now on are not compressed, unless whoever mounted it forces that: compressed files
 * take a thousand times longer to clone. Where nothing compresses it is so already. */
int os_avoid_compression(const char *dir);
/* Would a file made there be compressed all the same? *out_mount is where what forces it is mounted; NULL: the directory
 * is marked so. Owned. */
bool os_compresses(const char *dir, char **out_mount);
/* Where the bytes of an open file lie in its filesystem, piece by piece in the file's order, from its beginning up to
 * `size`. What was written to it and is still in memory goes to the disk first. (FIEMAP; F_LOG2PHYS_EXT on macOS.)
 * `visit` returns false to stop. EOPNOTSUPP where the filesystem does not tell. */
typedef enum OsPlace {
	OS_PLACE_BLOCKS, /* at `physical`, which means the same in all files of the filesystem */
	OS_PLACE_OWN, /* in memory still, or among the metadata: nobody else's, whatever `physical` says */
	OS_PLACE_UNKNOWN, /* compressed or encrypted: `bytes` is not what it takes */
} OsPlace;
typedef struct OsExtent {
	uint64_t physical;
	uint64_t bytes;
	OsPlace place;
} OsExtent;
typedef bool (*OsExtentVisit)(const OsExtent *extent, void *arg);
int os_extents(int fd, uint64_t size, OsExtentVisit visit, void *arg);
/* fsync that reaches the disk (F_FULLFSYNC on macOS). */
int os_sync_fd(int fd);
/* Does syncing a new file in that directory bring its name to the disk too? Where it does, syncing the
 * directory as well only writes the same again. */
bool os_sync_brings_name(const char *dir);
/* An open file without a name that is never on a disk: for secrets. A child opens what it inherits as /dev/fd/N. */
int os_memory_file(const char *label);
/* A name under which other processes of ours open what is open here, as long as we live; owned. */
char *os_file_name(int fd);
/* What is in a pipe now, at most `len` bytes: it stays there. EINVAL for what is no pipe. */
ssize_t os_pipe_peek(int pipe_fd, void *data, size_t len);
int os_rename_noreplace(const char *from, const char *to);
/* Both exist, and each gets the other's name, in one step. */
int os_rename_exchange(const char *one, const char *other);

/* An fd that becomes readable when something is written to the open file, until it is cleared. */
int os_watch_file(int fd);
/* The same for names that appear in a directory. */
int os_watch_dir(const char *dir);
void os_watch_clear(int watch_fd);

/* Does this system let programs like crun make containers? */
bool os_can_contain(void);

/* The running executable, and its directory. */
int os_executable(char **out_path);
int os_executable_dir(char **out_dir);
/* Physical memory in bytes. */
int os_memory_bytes(uint64_t *out_bytes);
/* Random bytes from the kernel; cannot fail after boot. */
void os_random(void *data, size_t len);
/* "x86_64" or "aarch64". */
const char *os_machine(void);
