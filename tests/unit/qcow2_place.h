/*
 * Shared by the tests of what is special about a qcow2 store: a store with an image and a VM, and QEMU's own tools, which
 * have to find its files good and to read them as we do.
 */
#pragma once

#include "test.h"

#include "storage/storages.h"
#include "util/str.h"

#define MIB   (1ULL << 20)
#define GIB   (1ULL << 30)
#define IMAGE "11111111-0000-4000-8000-000000000001"
#define VM    "22222222-0000-4000-8000-000000000002"
#define FORK  "33333333-0000-4000-8000-000000000003"
#define FORK2 "33333333-0000-4000-8000-000000000004"

#define IMAGE_BYTES (4 * MIB)
#define DISK_BYTES  (3 * GIB)

extern StoragePool *pool;
extern char root[64]; /* the directory of the test */

/* A store with the image and, on it, the VM. */
void set_up(void);
/* Destroys whatever volumes there are, and checks that nothing is left of them. */
void tear_down(void);
/* The same at any time, without a check. */
void forget(void);

void clone_volume(const char *from, const char *to);
void destroy(const char *volume);
void seal(const char *volume);
/* The path of the file of a volume whose name ends so; freed by the caller. */
char *path_of(const char *volume, const char *suffix);
bool has_file(const char *volume, const char *suffix);
size_t count_files(void);
size_t depth_of(const char *volume);
/* A name for the volume of that number; freed by the caller. */
char *nth(int number);

/* A command of qemu-io, on a file or on the disk of a volume. */
void io(const char *path, const char *text);
PRINTF(2, 3) void write_disk(const char *volume, const char *fmt, ...);
/* Writes of all kinds, across clusters and tables, and others for each seed. */
void scribble(const char *volume, int seed);

/* QEMU finds nothing wrong with any file, not even a cluster too many. */
void check_files(void);
/* The content as we read it, in a file of that name in `root`, whose path is freed by the caller. */
char *copy_out(const char *volume, const char *name);
/* Whether QEMU reads the same. */
void check_same(const char *volume, const char *copy);
void check_content(const char *volume);

/* The act, in a child that is killed at that step; skips where nothing can be killed. */
void kill_at(const char *step, void (*act)(void));
