#include "backend/network.h"

#include <stdlib.h>

void network_plan_release(NetworkPlan *plan)
{
	free(plan->qemu_netdev);
	free(plan->gateway);
	free(plan->ip_arg);
	vm_network_release(&plan->record);
	*plan = (NetworkPlan){ 0 };
}
