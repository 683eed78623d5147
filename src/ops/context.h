/*
 * What every operation works in: the installation, its chosen back ends, and how to tell the user
 * about progress.
 *
 * ops/ prints nothing: progress and warnings go through the Reporter that cli/ gives.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "backend/hypervisor.h"
#include "backend/network.h"
#include "backend/storage.h"
#include "model/config.h"
#include "state/store.h"
#include "util/error.h"

typedef struct Reporter {
	void *arg;
	bool is_watched; /* somebody looks on: figures that cost something are worth it */
	/* A step began ("fetch kernel"); the former one, if any, is done. NULL: no step is under
	 * way any more. */
	void (*step)(void *arg, const char *text);
	/* Bytes of the step under way; total 0 when unknown. */
	void (*bytes)(void *arg, uint64_t done, uint64_t total);
	/* Something the user should know though the command goes on. */
	void (*warning)(void *arg, const char *text);
	/* A line that a program under way says, raw. False: the user does not see it. */
	bool (*line)(void *arg, const char *text);
	/* Say the step under way anew ("compile (12 files)"); it goes on. */
	void (*retitle)(void *arg, const char *text);
} Reporter;

typedef struct Context {
	Store store;
	Config config; /* empty until context_load */
	Reporter reporter;

	/* Opened on first use. */
	char *store_dir;
	StorageSite site; /* borrows from config, store and store_dir */
	const StorageBackend *storage;
	StoragePool *pool;

	/* Held shared from change_begin() on: no deinit meanwhile. */
	bool has_use_lock;
	int use_lock;
} Context;

/* Open the store's paths; nothing is read or made. */
int context_init(Context *ctx, const char *state_dir_flag, Error **err);
void context_release(Context *ctx);

/* Read config.json. ERR_NOT_FOUND "not initialized" with the hint otherwise. */
int context_load(Context *ctx, Error **err);
/* The same, but make an installation with automatic choices when there is none (and say so). */
int context_load_or_init(Context *ctx, Error **err);
/* Point `site` at the present config: for init, which has no config.json yet. */
void context_set_site(Context *ctx);
/* Open the storage pool of the config (mount on demand). Idempotent. */
int context_open_storage(Context *ctx, Error **err);
/* Is there a store, without anything being mounted or activated to see? */
bool context_has_store(Context *ctx);
/* The back end of this installation, without opening its store; NULL where there is none. */
const StorageBackend *context_storage(Context *ctx);
/* Make a volume openable, opening the pool first. */
int context_attach_disk(Context *ctx, const char *volume, StorageDisk *out_disk, Error **err);
void context_close_storage(Context *ctx); /* not open is fine */

/* Path of one of our helper programs ("ember-keeper"): in EMBER_LIBEXEC_DIR, or else beside the
 * executable or in ../libexec/ember. ERR_MISSING_TOOL when the installation is incomplete. */
int context_helper(const char *program, char **out_path, Error **err);

/* The same of a file that is data ("ember.fragment"); it is installed in ../share/ember. */
int context_data(const char *file, char **out_path, Error **err);

void report_step(const Context *ctx, const char *fmt, ...) PRINTF(2, 3);
void report_bytes(const Context *ctx, uint64_t done, uint64_t total);
void report_retitle(const Context *ctx, const char *fmt, ...) PRINTF(2, 3);
void report_done(const Context *ctx);
void report_warning(const Context *ctx, const char *fmt, ...) PRINTF(2, 3);
/* False: nobody saw it. */
bool report_line(const Context *ctx, const char *text);
/* A failure while undoing or cleaning up: never replaces the first error; clears *err. */
void report_warning_error(const Context *ctx, Error **err, const char *fmt, ...) PRINTF(3, 4);
