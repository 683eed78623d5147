#include "ops/vm_process.h"

#include <signal.h>
#include <string.h>

#include "backend/registry.h"
#include "state/launch.h"
#include "state/records.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

#define START_TIMEOUT_MS 30000
#define ADOPT_TIMEOUT_MS 10000
#define CONNECT_MS	 5000
#define KILL_TIMEOUT_MS	 10000
#define KEEPER_LEAVE_MS	 3000

int vm_process_start(Context *ctx, const char *name, KeeperIds *out_ids, Error **err)
{
	auto_free char *program = NULL;
	auto_free char *plan = store_vm_file(&ctx->store, name, "launch.json");

	if (context_helper("ember-keeper", &program, err) < 0)
		return -1;
	return keeper_start(program, plan, NULL, deadline_in_ms(START_TIMEOUT_MS), out_ids, err);
}

/* The keeper was killed and the VM goes on: give it a new one. Two commands may try at once; the second one's keeper finds
 * the first's and leaves, which is as good. */
static int adopt(Context *ctx, const Vm *vm, Error **err)
{
	auto_free char *program = NULL;
	auto_free char *plan = store_vm_file(&ctx->store, vm->name, "launch.json");
	KeeperIds ids;

	if (context_helper("ember-keeper", &program, err) < 0)
		return -1;
	return keeper_start(program, plan, &vm->process, deadline_in_ms(ADOPT_TIMEOUT_MS), &ids,
			    err);
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
	if (adopt(ctx, vm, &adoption) < 0 &&
	    client_open(plan.keeper_socket, deadline_in_ms(CONNECT_MS), out_client, NULL) < 0) {
		error_move(err, &adoption);
		return error_wrap(err, "give vm '%s' a new keeper", vm->name);
	}
	if (*out_client)
		return 0;
	return client_open(plan.keeper_socket, deadline_in_ms(CONNECT_MS), out_client, err);
}

/* Looks for keepers by the plan that is in their command line. */
typedef struct KeeperSearch {
	const char *plan;
	ProcId found;
} KeeperSearch;

static bool visit_process(const OsProcess *process, void *arg)
{
	KeeperSearch *search = arg;

	if (!strstr(process->command_line, "ember-keeper") ||
	    !strstr(process->command_line, search->plan))
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

/* A keeper that is about to start its hypervisor still shows its own command line in the child, so none is missed. */
static int kill_keepers(Context *ctx, const Vm *vm, Error **err)
{
	auto_free char *plan = store_vm_file(&ctx->store, vm->name, "launch.json");

	for (;;) {
		KeeperSearch search = { .plan = plan };

		if (os_process_scan(visit_process, &search, err) < 0)
			return -1;
		if (!search.found.pid)
			return 0;
		if (kill_and_wait(&search.found, err) < 0)
			return -1;
	}
}

int vm_process_find(Context *ctx, const Vm *vm, ProcId *out_hypervisor, Error **err)
{
	if (proc_is_alive(&vm->process)) {
		*out_hypervisor = vm->process;
		return 1;
	}
	for (size_t i = 0; hypervisor_backends[i]; i++) {
		int found = hypervisor_backends[i]->find_process(ctx->config.instance_id, vm->id,
								 out_hypervisor, err);

		if (found)
			return found;
	}
	return 0;
}

int vm_process_kill(Context *ctx, const Vm *vm, Error **err)
{
	ProcId hypervisor;
	int found;

	if (proc_is_alive(&vm->process)) {
		if (kill_and_wait(&vm->process, err) < 0)
			return -1;
		vm_process_wait_keeper(vm);
	}
	if (kill_keepers(ctx, vm, err) < 0)
		return -1;
	found = vm_process_find(ctx, vm, &hypervisor, err);
	if (found <= 0)
		return found;
	return kill_and_wait(&hypervisor, err);
}

void vm_process_wait_keeper(const Vm *vm)
{
	(void)proc_wait_gone(&vm->keeper, deadline_in_ms(KEEPER_LEAVE_MS), NULL);
}
