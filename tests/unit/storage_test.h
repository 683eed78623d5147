/*
 * Shared by the files of test_storage: the places that a store is tested in (storage_hosts.c), the
 * cases that hold in every place (storage_contract.c, storage_live.c, storage_faults.c) and those about stores that
 * ember mounts (storage_managed.c, storage_space.c).
 */
#pragma once

#include "test.h"

#include "storage/storages.h"
#include "util/error.h"
#include "util/str.h"

#define MIB	    (1ULL << 20)
#define STORE_BYTES (512 * MIB)
#define IMAGE	    "11111111-0000-4000-8000-000000000001"
#define VM	    "22222222-0000-4000-8000-000000000002"
#define OTHER	    "33333333-0000-4000-8000-000000000003"
#define SNAPSHOT    "44444444-0000-4000-8000-000000000004"

#define IMAGE_BYTES (4 * MIB) /* all of them 'i' */

/*
 * A place to test in. A back end joins with one line in storage_hosts.c.
 *
 * What it takes to have a pool or a device goes into `set_up`, which may change `site` and returns
 * NULL, or why this place cannot be had. `root`, the directory of the test, is there already.
 * `steps` are the back end's failure points, each list NULL-terminated; NULL: it has those of a
 * clonefile store.
 */
typedef struct Host {
	const char *name; /* for --host */
	const char *title;
	const StorageBackend *storage;
	const char *
		filesystem; /* what the state directory is on: one of its own; NULL: that of /tmp */
	bool is_shared;	    /* filling the store would fill /tmp */
	bool is_slow;	    /* each change takes a second: fewer of those that are much alike */
	bool is_compressed; /* a volume takes less than was written to it */
	bool is_mounted;    /* ember mounts the store: storage_managed.c is about it */
	const char *(*set_up)(void);
	void (*tear_down)(void); /* after the store's purge; the directory goes by itself */
	const char *const *clone_steps;
	const char *const *import_steps;
	const char *const *seal_steps;
} Host;

/* storage_zfs.c */
const char *zfs_set_up_fake(void);
void zfs_tear_down_fake(void);
const char *zfs_set_up_pool(void);
void zfs_tear_down_pool(void);
const char *zfs_set_up_file(void);
extern const char *const zfs_clone_steps[];
extern const char *const zfs_import_steps[];
extern const char *const zfs_seal_steps[];

extern const Host hosts[];
extern const size_t host_count;

typedef struct Case {
	const char *name;
	void (*run)(void);
} Case;

extern const Case contract_cases[];
extern const size_t contract_count;
extern const Case live_cases[];
extern const size_t live_count;
extern const Case fault_cases[];
extern const size_t fault_count;
extern const Case managed_cases[];
extern const size_t managed_count;
extern const Case space_cases[];
extern const size_t space_count;

/* The place of the case under way. */
extern const Host *host;
extern char root[64];
extern StorageSite site;

/* Set the next place up; NULL, or why it cannot be had. */
const char *enter_host(const Host *next);
void leave_host(void);

/* 0 for exit status 0; the words end with NULL. */
int run(const char *program, ...) SENTINEL;

StoragePool *open_pool(void);
/* Destroy all volumes and close. */
void remove_all(StoragePool *pool);
/* Write bytes of one kind into a file that is no volume yet. */
void fill_file(const char *path, char byte, size_t bytes);
/* A sealed volume of IMAGE_BYTES 'i'. */
void import_volume(StoragePool *pool, const char *volume);
void clone_volume(StoragePool *pool, const char *from, const char *to, uint64_t size_bytes);
void destroy_volume(StoragePool *pool, const char *volume);
/* A name for each number; owned. */
char *numbered_volume(int number);
void check_volumes(StoragePool *pool, size_t count); /* as many are listed, each once */

/* What a store that ember mounts lives in; owned. */
char *store_file(void);

/* Through attach(), as a hypervisor gets at them. 0, or -1 when the store did not take it. */
int write_volume(StoragePool *pool, const char *volume, uint64_t offset, char byte, size_t bytes);
/* Does it hold nothing but that byte there? */
bool volume_holds(StoragePool *pool, const char *volume, uint64_t offset, char byte, size_t bytes);

/* Run `act` in a child that is killed at that failure point. */
void kill_at(const char *step, void (*act)(void));

/* Its detach(), which back ends need not have. */
int let_go(StoragePool *pool, const char *volume, Error **err);
