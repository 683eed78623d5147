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

int ops_vm_fork(Context *ctx, const char *source_name, const char *name, const VmChanges *changes,
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

/* `force` stops it first. */
int ops_vm_delete(Context *ctx, const char *name, bool force, Error **err);

/* What it is now: the record with the truth about its process mixed in; nothing is written. */
int ops_vm_inspect(Context *ctx, const char *name, Vm *out_vm, Error **err);
/* How it ended last: 1 and the report, 0 when it never ended (or nobody saw it), -1. */
int ops_vm_last_exit(Context *ctx, const char *name, ExitReport *out_report, Error **err);
int ops_vm_list(Context *ctx, VmList *out_list, Error **err);
/* Make a record tell the truth: live states whose hypervisor is gone read `stopped`. */
void ops_vm_observe(Vm *vm);

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
