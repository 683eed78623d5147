/*
 * Shared by the tests of what is special about dm-thin: an installation with a pool of its own, over the kernel's device
 * mapper or over the one of tests/fake, which can be told to misbehave.
 */
#pragma once

#include "test.h"

#include "storage/storages.h"
#include "util/error.h"
#include "util/str.h"

#define MIB	    (1ULL << 20)
#define STORE_BYTES (512 * MIB)
#define IMAGE	    "11111111-0000-4000-8000-000000000001" /* 1 MiB of 'i' */
#define VM	    "22222222-0000-4000-8000-000000000002" /* its clone, 8 MiB */
#define OTHER	    "33333333-0000-4000-8000-000000000003"

/* Programs run side by side: each has an id of its own, and defines it. */
extern const char instance_id[];

extern StorageSite site;
extern char root[64]; /* the directory of the test; empty: nobody is there */

/* An installation that is not initialized yet; skips where there is no device mapper. */
void enter(void);
void leave(void);
/* Whether a store was there already. */
bool init(void);
StoragePool *open_pool(void);
void import_image(StoragePool *pool);
/* enter(), with an image and a VM. */
StoragePool *make_store(void);

/* Of an attached volume. */
int open_volume(StoragePool *pool, const char *volume, int flags);
char first_byte(StoragePool *pool, const char *volume);
size_t volumes(StoragePool *pool, Strv *out_names);

/* For tests that tell the device mapper what to do: skips with the kernel's. The words are Fake.tell's. */
void need_fake(void);
void order(const char *a, const char *b, const char *c);

/* The act, in a child that is killed at that step. */
void kill_at(const char *step, void (*act)(void));
/* Does any of our devices hold its writers back? A guard is given a moment. */
bool is_held(void);
/* "ember-ID-", with which the names of our devices begin, and the whole name of the pool's; freed by the caller. */
char *device_prefix(void);
char *pool_device(void);
