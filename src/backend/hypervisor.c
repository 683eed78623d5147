#include "backend/hypervisor.h"

#include <stdlib.h>

void hypervisor_info_release(HypervisorInfo *info)
{
	free(info->program);
	free(info->version);
	free(info->accelerator);
	free(info->accelerator_reason);
	*info = (HypervisorInfo){ 0 };
}
