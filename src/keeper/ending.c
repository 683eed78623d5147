#include "keeper/ending.h"

#include "keeper/log.h"
#include "model/size.h"
#include "state/launch.h"
#include "state/records.h"
#include "state/store.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

static int write_report(const LaunchPlan *plan, const char *reason, int status, Error **err)
{
	auto_free char *path = path_join(plan->vm_dir, "exit.json");
	auto_exit_report ExitReport report = {
		.reason = xstrdup(reason),
		.status = status,
		.at = time_text_now(),
	};

	if (failpoint("keeper.exit-report", err) < 0)
		return -1;
	return exit_report_write(path, &report, err);
}

/* Is this the record of the run that has ended, and not of another VM of that name, or of a later
 * run? A start that never came to write its process has none. */
static bool is_our_run(const Vm *vm, const LaunchPlan *plan, const ProcId *hypervisor)
{
	return str_equal(vm->id, plan->vm_id) && vm_state_is_live(vm->state) &&
	       (vm->process.pid == 0 ||
		(vm->process.pid == hypervisor->pid && vm->process.started == hypervisor->started));
}

static int write_record(const Store *store, const LaunchPlan *plan, const ProcId *hypervisor,
			Error **err)
{
	auto_vm Vm vm = { 0 };

	if (failpoint("keeper.record", err) < 0 ||
	    records_read_vm(store, plan->vm_name, &vm, err) < 0)
		return -1;
	if (!is_our_run(&vm, plan, hypervisor))
		return 0;
	vm.state = VM_STOPPED;
	vm.process = (ProcId){ 0 };
	vm.keeper = (ProcId){ 0 };
	return records_write_vm(store, &vm, err);
}

void ending_write(const LaunchPlan *plan, const ProcId *hypervisor, const char *reason, int status,
		  Claim *claim)
{
	auto_fd lock = -1;
	Store store = { 0 };
	Error *err = NULL;
	int got = 0;

	log_line("the vm ended: %s", reason);
	if (write_report(plan, reason, status, &err) < 0)
		log_error(&err, "write the exit report");
	if (store_open(plan->state_dir, &store, &err) == 0)
		got = store_lock(&store, "vm", plan->vm_name, LOCK_EXCLUSIVE, DEADLINE_NOW, &lock,
				 &err);
	if (err)
		log_error(&err, "lock the record");
	claim_drop(plan, claim);
	if (got > 0 && write_record(&store, plan, hypervisor, &err) < 0)
		log_error(&err, "write the record");
	else if (got == 0)
		log_line("the record is left to the command that holds its lock");
	store_release(&store);
}
