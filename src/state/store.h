/*
 * The state directory: where things are, who may change them, and how a change becomes durable.
 *
 *	ember.state		the mark: what is here is ours
 *	config.json		the installation's choices
 *	config.kept.json	those of the former one, after a deinit without a purge
 *	locks/KIND-NAME.lock	flock files, made on demand and never deleted
 *	vms/NAME/vm.json ...	one directory a VM
 *	images/NAME/image.json	one directory an image
 *	kernels/NAME/		one directory a kernel
 *	store/			volumes (or the mount point of a managed store)
 *	blobs/sha256/HEX	layers, configs and manifests that images were made from: a cache
 *	tmp/KIND:NAME/		a VM or image being made: its record says which volume belongs to it
 *	tmp/KIND:NAME:ID8/	something made of it and gone again, like a copy that is exported
 *	trash/KIND:NAME:ID8/	one being removed (no name has a colon)
 *
 * A changing command holds the operation lock of the one name it changes, from before its first
 * look to after its commit. Readers take no lock: records are replaced whole.
 */
#pragma once

#include "model/config.h"
#include "model/image.h"
#include "model/vm.h"
#include "util/deadline.h"
#include "util/error.h"
#include "util/fs.h"
#include "util/str.h"

typedef struct Store {
	char *dir;     /* absolute */
	char *run_dir; /* sockets live in its sub-directories; short */
} Store;

/* The directory to use: `flag` (may be NULL), else EMBER_STATE_DIR, else the default of this user.
 * Absolute, owned. */
int store_default_dir(const char *flag, char **out_dir, Error **err);
/* Fills the paths; touches nothing. */
int store_open(const char *dir, Store *out_store, Error **err);
void store_release(Store *store);

bool store_is_initialized(const Store *store);
/* Make the directories that every installation has. Idempotent. Refuses directories of these names that ember did not make
 * (ERR_EXISTS), and places where others may write (ERR_DENIED). */
int store_make_dirs(const Store *store, Error **err);
/* ERR_STATE unless ember made what is in the state directory. */
int store_check_mark(const Store *store, Error **err);
/* Take back store_make_dirs(), as long as nothing came into the directories but locks; the state directory itself only
 * `with_dir`. */
int store_unmake(const Store *store, bool with_dir, Error **err);
/* End the installation and keep the rest: config.json becomes config.kept.json. */
int store_keep(const Store *store, Error **err);
bool store_has_kept(const Store *store);
/* Make an installation again of what store_keep() has left, so that it can be purged. */
int store_recall(const Store *store, Error **err);
/* Remove all that ember makes in a state directory, and the directory when nothing else is in it. */
int store_purge(const Store *store, Error **err);
/* Make RUN/ID8 (0700, ours; RUN itself when vm_id is NULL) and give its path; owned. */
int store_make_run_dir(const Store *store, const char *vm_id, char **out_dir, Error **err);
/* RUN/ID8/stuck: there while the VM's disk takes no more writes and it stands still. Owned. */
char *store_stuck_mark(const char *vm_run_dir);
bool store_vm_is_stuck(const Store *store, const char *vm_id);
int store_remove_run_dir(const Store *store, const char *vm_id, Error **err);

/* Paths, owned. */
char *store_path(const Store *store, const char *relative);
char *store_vm_dir(const Store *store, const char *name);
char *store_vm_file(const Store *store, const char *name, const char *file);
char *store_image_dir(const Store *store, const char *name);
/* kind is "vm" or "image". */
char *store_tmp_dir(const Store *store, const char *kind, const char *name);
/* A second one that works on the same name: tmp/KIND:NAME:ID8. */
char *store_work_dir(const Store *store, const char *kind, const char *name, const char *id);
char *store_trash_dir(const Store *store, const char *kind, const char *name, const char *id);

/*
 * Locks; kind is "vm", "image", "kernel", "kernels" (held shared while something is made that names a kernel, so that a build
 * of the same name, which has "kernel" for minutes, does not stand in its way) or "store". store_lock: 1 got it, 0 busy until the deadline, -1.
 * store_lock_op waits a few seconds for an exclusive operation lock, then fails with ERR_BUSY; store_lock_source does so
 * for a shared one: many may copy from one name at a time, and nobody changes it meanwhile.
 */
int store_lock(const Store *store, const char *kind, const char *name, LockMode mode,
	       Deadline until, int *out_fd, Error **err);
int store_lock_op(const Store *store, const char *kind, const char *name, int *out_fd, Error **err);
/* Exclusive locks of two names, taken in the same order by everybody, so that no two commands wait for each other. The
 * same name twice is locked once. */
int store_lock_pair(const Store *store, const char *kind, const char *one, const char *other,
		    int *out_first, int *out_second, Error **err);
int store_lock_source(const Store *store, const char *kind, const char *name, int *out_fd,
		      Error **err);

int store_read_config(const Store *store, Config *out_config, Error **err);
int store_write_config(const Store *store, const Config *config, Error **err);
