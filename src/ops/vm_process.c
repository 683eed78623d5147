#include "ops/vm_process.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "backend/registry.h"
#include "state/launch.h"
#include "state/records.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

#define KEEPER_PROGRAM	 "ember-keeper"
#define START_TIMEOUT_MS 30000
#define ADOPT_TIMEOUT_MS 10000
#define CONNECT_MS	 5000
#define KILL_TIMEOUT_MS	 10000
#define KEEPER_LEAVE_MS	 3000
#define RESUME_MS	 5000

int vm_process_start(Context *ctx, const char *name, KeeperIds *out_ids, Error **err)
{
	auto_free char *program = NULL;
	auto_free char *plan = store_vm_file(&ctx->store, name, "launch.json");

	if (context_helper(KEEPER_PROGRAM, &program, err) < 0)
		return -1;
	return keeper_start(program, plan, NULL, deadline_in_ms(START_TIMEOUT_MS), out_ids, err);
}

/* For `inspect`. Whoever holds the lock right now is about to write the record anyway. */
static void record_keeper(Context *ctx, const Vm *vm, const ProcId *keeper)
{
	auto_fd lock = -1;
	auto_vm Vm now = { 0 };

	if (store_lock(&ctx->store, "vm", vm->name, LOCK_EXCLUSIVE, DEADLINE_NOW, &lock, NULL) <=
		    0 ||
	    records_read_vm(&ctx->store, vm->name, &now, NULL) < 0 ||
	    now.process.pid != vm->process.pid || now.process.started != vm->process.started)
		return;
	now.keeper = *keeper;
	(void)records_write_vm(&ctx->store, &now, NULL);
}

/* The keeper was killed and the VM goes on: give it a new one. Two commands may try at once; the second one's keeper finds
 * the first's and leaves, which is as good. */
static int adopt(Context *ctx, const Vm *vm, Error **err)
{
	auto_free char *program = NULL;
	auto_free char *plan = store_vm_file(&ctx->store, vm->name, "launch.json");
	KeeperIds ids;

	if (context_helper(KEEPER_PROGRAM, &program, err) < 0)
		return -1;
	if (keeper_start(program, plan, &vm->process, deadline_in_ms(ADOPT_TIMEOUT_MS), &ids, err) <
	    0)
		return -1;
	record_keeper(ctx, vm, &ids.keeper);
	return 0;
}

int vm_process_rename(Context *ctx, const Vm *vm, Error **err)
{
	auto_free char *path = store_vm_file(&ctx->store, vm->name, "launch.json");
	auto_free char *dir = store_vm_dir(&ctx->store, vm->name);
	auto_launch_plan LaunchPlan plan = { 0 };

	if (!fs_exists(path))
		return 0; /* it never ran */
	if (launch_plan_read(path, &plan, err) < 0)
		return -1;
	str_assign(&plan.vm_name, vm->name);
	str_assign(&plan.vm_dir, dir);
	return launch_plan_write(path, &plan, err);
}

/* Connect to a new keeper. Who had stopped the vCPUs for a moment may have died together with the former one: a VM that runs
 * by its record runs again. One whose disk is full cannot, and its keeper sees to that; whoever wants its guest is told. */
static int connect_adopted(const Vm *vm, const char *socket, Client **out_client, Error **err)
{
	auto_client client = NULL;
	auto_error why = NULL;

	if (client_open(socket, deadline_in_ms(CONNECT_MS), &client, err) < 0)
		return -1;
	if (vm->state == VM_RUNNING && client_resume(client, deadline_in_ms(RESUME_MS), &why) < 0 &&
	    error_code(why) != ERR_STATE) {
		error_move(err, &why);
		return -1;
	}
	*out_client = steal(&client);
	return 0;
}

int vm_process_connect(Context *ctx, const Vm *vm, Client **out_client, Error **err)
{
	auto_free char *path = store_vm_file(&ctx->store, vm->name, "launch.json");
	auto_launch_plan LaunchPlan plan = { 0 };
	auto_error missing = NULL;
	auto_error adoption = NULL;

	/* The plan knows the socket even when this terminal's XDG_RUNTIME_DIR is another one. */
	if (launch_plan_read(path, &plan, err) < 0)
		return error_wrap(err, "find the keeper of vm '%s'", vm->name);
	if (client_open(plan.keeper_socket, deadline_in_ms(CONNECT_MS), out_client, &missing) == 0)
		return 0;
	if (error_code(missing) != ERR_NOT_FOUND || !proc_is_alive(&vm->process)) {
		error_move(err, &missing);
		return error_wrap(err, "reach the keeper of vm '%s'", vm->name);
	}
	if (adopt(ctx, vm, &adoption) == 0)
		return connect_adopted(vm, plan.keeper_socket, out_client, err);
	/* When ours was not wanted, the one that another command started is there. */
	if (client_open(plan.keeper_socket, deadline_in_ms(CONNECT_MS), out_client, NULL) == 0)
		return 0;
	error_move(err, &adoption);
	/* Its sockets may be gone with a run directory that somebody cleared. */
	error_recode(err, ERR_STATE);
	error_set_hint(err, "it runs but cannot be reached; end it: ember vm stop --force %s",
		       vm->name);
	return error_wrap(err, "give vm '%s' a new keeper", vm->name);
}

/* Looks for keepers by the plan that is in their command line. */
typedef struct KeeperSearch {
	const char *plan;
	ProcId found;
} KeeperSearch;

static bool visit_process(const OsProcess *process, void *arg)
{
	KeeperSearch *search = arg;

	if (process->uid != geteuid() ||
	    strcmp(path_basename(process->argv.items[0]), KEEPER_PROGRAM) != 0 ||
	    !str_equal(os_process_option(process, "--plan"), search->plan))
		return true;
	return proc_identify(process->pid, &search->found, NULL) < 0;
}

static int kill_and_wait(const ProcId *id, Error **err)
{
	int gone;

	if (proc_signal(id, SIGKILL, err) < 0)
		return -1;
	gone = proc_wait_gone(id, deadline_in_ms(KILL_TIMEOUT_MS), err);
	if (gone == 0) {
		error_set(err, ERR_TIMEOUT, "process %d does not die", (int)id->pid);
		error_hint(err, "see what it waits for: cat /proc/%d/stack", (int)id->pid);
	}
	return gone > 0 ? 0 : -1;
}

/* Its hypervisor is gone or about to go: a moment for the report, then by force. */
static int end_keeper(const ProcId *keeper, int64_t patience_ms, Error **err)
{
	int gone = proc_wait_gone(keeper, deadline_in_ms(patience_ms), err);

	if (gone)
		return gone > 0 ? 0 : -1;
	return kill_and_wait(keeper, err);
}

/* A keeper that is about to start its hypervisor still shows its own command line in the child, so none is missed. */
static int end_keepers(Context *ctx, const Vm *vm, int64_t patience_ms, Error **err)
{
	auto_free char *plan = store_vm_file(&ctx->store, vm->name, "launch.json");

	for (;;) {
		KeeperSearch search = { .plan = plan };

		if (os_process_scan(visit_process, &search, err) < 0)
			return -1;
		if (!search.found.pid)
			return 0;
		if (end_keeper(&search.found, patience_ms, err) < 0)
			return -1;
	}
}

/* By its name among the processes, whatever was (not) recorded. 1 found, 0 none, -1. */
static int find_hypervisor(Context *ctx, const Vm *vm, ProcId *out_id, Error **err)
{
	for (size_t i = 0; hypervisor_backends[i]; i++) {
		int found = hypervisor_backends[i]->find_process(ctx->config.instance_id, vm->id,
								 out_id, err);

		if (found)
			return found;
	}
	return 0;
}

int vm_process_kill(Context *ctx, const Vm *vm, Error **err)
{
	bool was_running = proc_is_alive(&vm->process);
	ProcId hypervisor;
	int found;

	if (was_running && kill_and_wait(&vm->process, err) < 0)
		return -1;
	/* One whose start never finished has nothing to report, and must not get to start anything. */
	if (end_keepers(ctx, vm, was_running ? KEEPER_LEAVE_MS : 0, err) < 0)
		return -1;
	found = find_hypervisor(ctx, vm, &hypervisor, err);
	if (found <= 0)
		return found;
	return kill_and_wait(&hypervisor, err);
}

void vm_process_wait_keeper(const Vm *vm)
{
	(void)proc_wait_gone(&vm->keeper, deadline_in_ms(KEEPER_LEAVE_MS), NULL);
}
