/*
 * What ember does with VMs. Every function takes the operation lock of the names it changes, leaves
 * either the whole change or none of it, and gives the record as it then is.
 */
#pragma once

#include "model/launch.h"
#include "model/vm.h"
#include "ops/context.h"

/* What the user asked for at create; zero or NULL means the default. Borrowed strings. */
typedef struct VmSpec {
	const char *name;
	const char *image;
	uint32_t cpus;		/* default 1 */
	uint64_t memory_mib;	/* default 1024 */
	uint64_t disk_size_mib; /* default 8192 */
	const char *kernel;
	const char *network; /* name of a network back end */
	const char *hypervisor;
	const char *boot_args;
	const char *user;
	const Strv *env;
	const Strv *labels;
	bool run_cmd; /* run the image's own command at each boot */
	bool pull;    /* fetch the image when it is not here */
} VmSpec;

/* Everything refused here is refused before anything is touched. */
int ops_vm_create(Context *ctx, const VmSpec *spec, Vm *out_vm, Error **err);

/* Changes to make while forking; zero or NULL keeps the source's value. */
typedef struct VmChanges {
	uint32_t cpus;
	uint64_t memory_mib;
	uint64_t disk_size_mib;
	const char *kernel;
	const char *network;
} VmChanges;

/* `source_text` is "VM", which must not run, or "VM@SNAP". */
int ops_vm_fork(Context *ctx, const char *source_text, const char *name, const VmChanges *changes,
		Vm *out_vm, Error **err);

int ops_vm_start(Context *ctx, const char *name, Vm *out_vm, Error **err);

typedef struct StopOptions {
	bool force;	    /* SIGKILL at once */
	int64_t timeout_ms; /* for the orderly way, before it is forced; 0: default 20 s */
} StopOptions;
int ops_vm_stop(Context *ctx, const char *name, const StopOptions *options, Vm *out_vm,
		Error **err);
int ops_vm_restart(Context *ctx, const char *name, const StopOptions *options, Vm *out_vm,
		   Error **err);

/* Changes of settings. Zero or NULL leaves one as it is, an empty text takes it back to what it is by default. Borrowed. */
typedef struct VmUpdate {
	uint32_t cpus;
	uint64_t memory_mib;
	const char *kernel;
	const char *network;
	const char *hypervisor;
	const char *boot_args;
	const char *user;
	const char *ssh_user;
	const char *ssh_key; /* a file */
	const Strv *env;     /* NAME=VALUE, or NAME- to remove it; may be NULL */
	const Strv *labels;  /* the same */
} VmUpdate;

/* Of a VM that does not run; labels alone may change at any time. ERR_USAGE when no setting is named. What is refused is
 * refused before anything is touched. *out_changed: it was not set like that already. */
int ops_vm_update(Context *ctx, const char *name, const VmUpdate *update, Vm *out_vm,
		  bool *out_changed, Error **err);

/* What became of the filesystem in a disk that was grown. */
typedef enum ResizeEnd {
	RESIZE_AT_BOOT,	  /* the guest grows it when it boots next */
	RESIZE_GROWN,	  /* it is as large as the disk */
	RESIZE_AT_RESUME, /* the VM is paused: the guest grows it when it goes on */
	RESIZE_IN_PART,	  /* the guest answers that it is smaller than the disk */
	RESIZE_NO_AGENT,  /* the guest does not answer: at its next boot, or when it does */
} ResizeEnd;

/* Grow its disk, also while it runs. ERR_USAGE for a size that is not larger, ERR_UNSUPPORTED when it runs in a hypervisor that
 * cannot, or for more than its filesystem can grow to. A resize that was cut off is finished by the same one, or by the next start, or by reconcile. */
int ops_vm_resize(Context *ctx, const char *name, uint64_t disk_size_mib, Vm *out_vm,
		  ResizeEnd *out_end, Error **err);

/* Of a VM that does not run. What it has follows, and what was forked from it knows it by its new name. ERR_EXISTS. */
int ops_vm_rename(Context *ctx, const char *name, const char *new_name, Vm *out_vm, Error **err);

/* `force` stops it first. Its snapshots go with it: *out_snapshots (may be NULL) is how many. */
int ops_vm_delete(Context *ctx, const char *name, bool force, size_t *out_snapshots, Error **err);

/* What it is now: the record with the truth about its process mixed in; nothing is written. */
int ops_vm_inspect(Context *ctx, const char *name, Vm *out_vm, Error **err);
/* How it ended last: 1 and the report, 0 when it never ended (or nobody saw it), -1. */
int ops_vm_last_exit(Context *ctx, const char *name, ExitReport *out_report, Error **err);
int ops_vm_list(Context *ctx, VmList *out_list, Error **err);
/* Make a record tell the truth: live states whose hypervisor is gone read `stopped`. */
void ops_vm_observe(Vm *vm);

/* Why a VM is_stuck. */
#define VM_STUCK_REASON "its disk takes no more writes, likely for want of room on the host"

typedef enum WaitFor { WAIT_READY, WAIT_STOPPED } WaitFor;
/* ERR_TIMEOUT says what the VM was doing, with the last lines of its console as detail. */
int ops_vm_wait(Context *ctx, const char *name, WaitFor what, int64_t timeout_ms, Vm *out_vm,
		Error **err);

/* Open its console log for reading. ERR_NOT_FOUND when it never ran. */
int ops_vm_open_log(Context *ctx, const char *name, int *out_fd, Error **err);

/* Is it in one of these states? ERR_STATE "vm 'x' is stopped, expected running or paused" with the
 * hint otherwise. */
int vm_require_state(const Vm *vm, const char *expected, unsigned allowed_mask, Error **err);
#define VM_MASK(state) (1U << (state))
