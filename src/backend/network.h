/*
 * Network: how a VM is connected.
 */
#pragma once

#include <stdbool.h>

#include "model/vm.h"
#include "util/error.h"

/* What the hypervisor must do to connect the VM, and what the guest must be told. */
typedef struct NetworkPlan {
	bool has_nic;
	char *qemu_netdev; /* value of QEMU's -netdev without the id: "user,restrict=off" */
	VmNetwork record;  /* what goes into the VM's record */
	char *gateway;
	char *ip_arg; /* "ip=CLIENT::GW:MASK:HOSTNAME:eth0:off:DNS0" (kernel's nfsroot.txt); NULL:
			 no NIC */
} NetworkPlan;

void network_plan_release(NetworkPlan *plan);
#define auto_network_plan CLEANUP(network_plan_release)

typedef struct NetworkBackend {
	const char *name;
	const char *summary;
	bool needs_root;

	/* Can this host use it? 1 yes, 0 no; *out_reason says why in words for the user. */
	int (*probe)(char **out_reason, Error **err);
	/* Connect the VM; names derive from its id. Asking twice gives the same answer. */
	int (*attach)(const Vm *vm, NetworkPlan *out_plan, Error **err);
	/* Take down all that attach made. Succeeds if there is nothing. */
	int (*detach)(const Vm *vm, Error **err);
} NetworkBackend;
