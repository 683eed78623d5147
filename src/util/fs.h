/*
 * Files, the careful way: relative to directory fds where it matters, never through a surprise
 * symlink, durable when the caller says so.
 *
 * All files are made 0600 and directories 0700 unless a mode is given.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "util/compiler.h"
#include "util/deadline.h"
#include "util/error.h"
#include "util/str.h"

/* "a/b", owned by the caller. */
char *path_join(const char *dir, const char *name) MUST_USE;
/* The last component, borrowed. */
const char *path_basename(const char *path);
/* Everything before the last component ("." or "/" when there is none), owned. */
char *path_dirname(const char *path) MUST_USE;
/* Absolute, without resolving the last component's existence; owned. */
int path_absolute(const char *path, char **out_path, Error **err);

bool fs_exists(const char *path); /* does not follow a final symlink */
/* The path, or as much of its beginning as exists; owned. */
char *fs_nearest_existing(const char *path) MUST_USE;
int fs_mkdir(const char *path, mode_t mode, Error **err);     /* existing directory is success */
int fs_mkdir_all(const char *path, mode_t mode, Error **err); /* and all its parents */
int fs_remove(const char *path, Error **err);		      /* a file; missing is success */
/* A file or a whole tree, without following symlinks; missing is success. */
int fs_remove_tree(const char *path, Error **err);
/* Names in a directory without "." and "..", sorted; a missing directory is empty. */
int fs_list(const char *dir, Strv *out_names, Error **err);

/* Read a regular file of at most `max` bytes; the text is NUL-terminated. ERR_NOT_FOUND when it is
 * missing. */
int fs_read(const char *path, size_t max, char **out_text, size_t *out_len, Error **err);
/* Replace a file whole: write a temporary beside it, fsync it when `durable`, rename, fsync the
 * directory. */
int fs_write_atomic(const char *path, const void *data, size_t len, mode_t mode, bool durable,
		    Error **err);
/* Make a new file and fsync it; its directory's fsync is the caller's. ERR_EXISTS. */
int fs_write_new(const char *path, const void *data, size_t len, mode_t mode, Error **err);
/* As much as there is, from a file or a pipe; less than `len` only at its end. Ctrl-C: ERR_CANCELED. */
int fs_read_full(int fd, void *data, size_t len, size_t *out_len, Error **err);
/* Write everything, or fail. */
int fs_write_all(int fd, const void *data, size_t len, Error **err);

/* Bring a whole file into another, which is empty: by sharing its blocks where the filesystem can, else by copying its
 * data; holes stay holes. Either may be a device; one that is written to must be large enough and read as
 * zeros. `progress` may be NULL. Ctrl-C: ERR_CANCELED. */
typedef void (*FsProgress)(void *arg, uint64_t done, uint64_t total);
int fs_copy_contents(int from_fd, int to_fd, FsProgress progress, void *arg, Error **err);
/* `len` bytes from `offset` of a file on to wherever the other stands, which may be a pipe. */
int fs_copy_range(int from_fd, uint64_t offset, uint64_t len, int to_fd, Error **err);

int fs_sync_fd(int fd, const char *what, Error **err);
int fs_sync_path(const char *path, Error **err); /* a file or a directory */

/* Rename that fails with ERR_EXISTS when `to` is there. */
int fs_rename_new(const char *from, const char *to, Error **err);
/* Rename that replaces. */
int fs_rename(const char *from, const char *to, Error **err);

/*
 * A flock file at `path`, made when missing and never deleted (deleting one breaks those who wait on it).
 * Returns 1 and the fd that holds it, 0 when somebody else still has it at the deadline, -1 on error. Closing the
 * fd, or dying, lets go.
 */
typedef enum LockMode { LOCK_SHARED, LOCK_EXCLUSIVE } LockMode;
int fs_lock(const char *path, LockMode mode, Deadline until, int *out_fd, Error **err);

/* Free bytes for this user on the filesystem of `path`. */
int fs_free_bytes(const char *path, uint64_t *out_bytes, Error **err);
