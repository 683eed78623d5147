#include "model/launch.h"

#include <stdlib.h>

void launch_plan_release(LaunchPlan *plan)
{
	free(plan->vm_name);
	free(plan->vm_id);
	free(plan->driver);
	free(plan->hypervisor);
	free(plan->accelerator);
	strv_release(&plan->argv);
	free(plan->state_dir);
	free(plan->vm_dir);
	free(plan->run_dir);
	free(plan->control_socket);
	free(plan->agent_socket);
	free(plan->keeper_socket);
	*plan = (LaunchPlan){ 0 };
}

void exit_report_release(ExitReport *report)
{
	free(report->reason);
	free(report->at);
	*report = (ExitReport){ 0 };
}
