/*
 * The kernel's device mapper, by its ioctls (linux/dm-ioctl.h, an interface that has not changed
 * since Linux 2.6): devices that are made of tables, and messages to their targets.
 *
 * No library and no program stands between: a clone is one ioctl. Nodes are links in /dev/mapper to
 * what the kernel itself makes in /dev, and udev is told to keep its hands off: it must neither look
 * into a guest's disk nor assemble the RAIDs and volume groups it finds there.
 *
 * Everything here takes root. Names are at most DM_NAME_LEN - 1 bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"
#include "util/str.h"

#define DM_SECTOR_BYTES 512

/* One line of a table; in sectors. */
typedef struct DmTarget {
	uint64_t start;
	uint64_t length;
	const char *type;   /* "linear", "thin-pool", "thin" */
	const char *params; /* what the target makes of it */
} DmTarget;

typedef struct DmInfo {
	bool exists;
	bool is_active; /* has a table: what was interrupted while it was made has none */
	bool is_suspended;
	bool is_readonly;
	uint32_t open_count;
	char number[32]; /* "253:4", as tables name it */
	char uuid[129];
} DmInfo;

/* 1 the kernel has that target (its module is loaded when need be); 0 not (*out_reason, owned). */
int dm_probe(const char *target, char **out_reason);

/* What is not there is no error: out_info->exists is false. */
int dm_info(const char *name, DmInfo *out_info, Error **err);
/* The names that begin with `prefix`. */
int dm_list(const char *prefix, Strv *out_names, Error **err);

/* A device with that table, ready at dm_path(). What an interrupted call of the same name left is
 * finished. */
int dm_make(const char *name, const char *uuid, const DmTarget *targets, size_t count,
	    bool is_readonly, Error **err);
/* Give it another table: only dm_resume makes it valid. */
int dm_load(const char *name, const DmTarget *targets, size_t count, bool is_readonly, Error **err);
/* Hold back everything that is written to it, after what is under way has come to the disk. */
int dm_suspend(const char *name, Error **err);
/* Go on, with the table loaded last. */
int dm_resume(const char *name, Error **err);
/* Missing is success; ERR_BUSY when it stays open. */
int dm_remove(const char *name, Error **err);

/* Tell the device's target something. Returns 0 or what the kernel's errno is. */
int dm_message(const char *name, const char *text);
/* What its first target says of itself. Owned. */
int dm_status(const char *name, char **out_text, Error **err);
/* The table it has, or (`inactive`) will have; how many sectors in all. */
int dm_sectors(const char *name, uint64_t *out_sectors, Error **err);

/* Where a device of that name is opened. Owned. */
char *dm_path(const char *name);

/* While we hold devices suspended: should we be killed meanwhile, a child resumes them, since everything that uses them
 * would wait for ever. */
typedef struct DmGuard {
	const char *const *names; /* borrowed, in the order in which they are resumed */
	size_t count;
	int fd;
	pid_t pid;
} DmGuard;

/* Before they are suspended. */
int dm_guard_begin(const char *const *names, size_t count, DmGuard *out_guard, Error **err);
/* Resume those that are suspended, and let the child go. */
int dm_guard_end(DmGuard *guard, Error **err);
