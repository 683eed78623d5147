/*
 * The commands there are: the root of THE table, and what each command's options fill.
 */
#pragma once

#include "cli/cmd.h"
#include "model/vm.h"

extern const Cmd root_cmd;
extern const Option global_options[];

/* Zero or NULL means "not given" unless said otherwise. Sizes are in MiB or bytes as named. */

typedef struct InitArgs {
	const char *storage;
	const char *storage_path;
	const char *pool;
	const char *device;
	const char *dataset;
	uint64_t size_bytes;
	const char *kernel;
	const char *hypervisor;
	const char *network;
	const char *instance_id;
} InitArgs;

typedef struct DeinitArgs {
	bool purge;
} DeinitArgs;

typedef struct ReconcileArgs {
	bool dry_run;
} ReconcileArgs;

typedef struct CreateArgs {
	const char *image;
	int64_t cpus;
	uint64_t memory_mib;
	uint64_t disk_size_mib;
	const char *kernel;
	const char *network;
	const char *hypervisor;
	const char *boot_args;
	bool run_cmd;
	const char *user;
	Strv env;
	Strv labels;
	bool pull;
	bool no_start;
	bool wait;
	int64_t wait_timeout_s;
} CreateArgs;

typedef struct ForkArgs {
	int64_t cpus;
	uint64_t memory_mib;
	uint64_t disk_size_mib;
	const char *kernel;
	const char *network;
	bool no_start;
} ForkArgs;

/* start, stop, restart and delete: each takes the part it needs. */
typedef struct ManyArgs {
	bool all;
	bool force;
	int64_t timeout_s; /* -1: not given */
} ManyArgs;

typedef struct ResizeArgs {
	uint64_t disk_size_mib;
} ResizeArgs;

typedef struct UpdateArgs {
	int64_t cpus; /* -1: not given */
	uint64_t memory_mib;
	const char *kernel; /* this and the following: empty is the default again */
	const char *network;
	const char *hypervisor;
	const char *boot_args;
	const char *user;
	const char *ssh_user;
	const char *ssh_key;
	Strv env;
	Strv labels;
} UpdateArgs;

typedef struct ListArgs {
	Strv status;
	Strv labels; /* K or K=V */
} ListArgs;

typedef struct LogsArgs {
	bool follow;
	int64_t tail; /* lines; -1: all of it */
} LogsArgs;

typedef struct WaitArgs {
	const char *what;
	int64_t timeout_s; /* -1: not given */
} WaitArgs;

typedef struct ExecArgs {
	const char *user;
	const char *workdir;
	Strv env;
	bool interactive;
	int64_t wait_s;
} ExecArgs;

int cmd_init(App *app, const Args *args, Error **err);
int cmd_deinit(App *app, const Args *args, Error **err);
int cmd_doctor(App *app, const Args *args, Error **err);
int cmd_info(App *app, const Args *args, Error **err);
int cmd_version(App *app, const Args *args, Error **err);
int cmd_reconcile(App *app, const Args *args, Error **err);
int cmd_completion(App *app, const Args *args, Error **err);
int cmd_help(App *app, const Args *args, Error **err);

int cmd_vm_create(App *app, const Args *args, Error **err);
int cmd_vm_start(App *app, const Args *args, Error **err);
int cmd_vm_stop(App *app, const Args *args, Error **err);
int cmd_vm_restart(App *app, const Args *args, Error **err);
int cmd_vm_fork(App *app, const Args *args, Error **err);
int cmd_vm_resize(App *app, const Args *args, Error **err);
int cmd_vm_update(App *app, const Args *args, Error **err);
int cmd_vm_rename(App *app, const Args *args, Error **err);
int cmd_vm_delete(App *app, const Args *args, Error **err);
int cmd_vm_list(App *app, const Args *args, Error **err);
int cmd_vm_tree(App *app, const Args *args, Error **err);
int cmd_vm_inspect(App *app, const Args *args, Error **err);
int cmd_vm_logs(App *app, const Args *args, Error **err);
int cmd_vm_wait(App *app, const Args *args, Error **err);

/* How a state is coloured. */
CellMood vm_state_mood(VmState state);

int cmd_exec(App *app, const Args *args, Error **err);
int cmd_cp(App *app, const Args *args, Error **err);

/* Hidden: what completion stubs and the checks of the documents ask. */
int cmd_complete(App *app, const Args *args, Error **err);
int cmd_dump_commands(App *app, const Args *args, Error **err);
int cmd_dump_errors(App *app, const Args *args, Error **err);
