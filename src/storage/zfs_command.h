/*
 * zfs(8) and zpool(8), run as programs: what they print in their -Hp form, and what their errors
 * mean.
 */
#pragma once

#include "util/error.h"
#include "util/process.h"

#define ZFS_TIMEOUT_MS 60000
#define ZFS_FIELDS_MAX 12

/* `program` is "zfs" or "zpool". ERR_MISSING_TOOL names Debian's packages. */
int zfs_command(Command *cmd, const char *program, Error **err);
/* Run it; its output is in cmd->output. The error is what the program said, with a code by which a caller can tell what
 * happened: ERR_NOT_FOUND, ERR_EXISTS, ERR_BUSY, ERR_DENIED, ERR_UNSUPPORTED (no kernel module), else ERR_FAILED. */
int zfs_run(Command *cmd, Error **err);
int zfs_run_for(Command *cmd, int64_t timeout_ms, Error **err);
/* zfs_command, the words up to NULL, zfs_run. */
int zfs_ask(Command *cmd, Error **err, const char *program, ...) SENTINEL;
/* The same without interest in what it prints. */
int zfs_do(Error **err, const char *program, ...) SENTINEL;

/* The same again and again, for some seconds, while what it is about is busy. */
int zfs_insist(Error **err, const char *program, ...) SENTINEL;

/* One line of -H output; *next goes from line to line through the text, which is cut into pieces. Missing fields are
 * "". False at the end. */
bool zfs_next_row(char **next, char *out_fields[ZFS_FIELDS_MAX]);
/* A figure of -p output; "-" and what is no figure are 0. */
uint64_t zfs_figure(const char *text);
