/*
 * Hypervisors: programs that run a VM.
 *
 * A back end has two halves. This one, in `ember`, finds the program, chooses the accelerator and
 * writes the launch plan. The other half, in the keeper (keeper/driver.h), speaks the program's
 * protocol while it runs.
 */
#pragma once

#include <stdbool.h>

#include "backend/network.h"
#include "backend/storage.h"
#include "model/kernel.h"
#include "model/launch.h"
#include "model/vm.h"
#include "util/error.h"

typedef struct HypervisorInfo {
	char *program;		  /* full path */
	char *version;		  /* "7.2.22" */
	char *accelerator;	  /* kvm or tcg */
	char *accelerator_reason; /* why not kvm, in words for the user; NULL when it is kvm */
} HypervisorInfo;

void hypervisor_info_release(HypervisorInfo *info);
#define auto_hypervisor_info CLEANUP(hypervisor_info_release)

/* All borrowed. */
typedef struct LaunchRequest {
	const Vm *vm;
	const Kernel *kernel;
	const NetworkPlan *network;
	const StorageDisk *disk;
	const char *instance_id;
	const char *state_dir;
	const char *vm_dir;
	const char *run_dir;   /* short; exists, 0700 */
	const char *cache_dir; /* for facts that are costly to find out; RUN */
} LaunchRequest;

typedef struct HypervisorBackend {
	const char *name;
	const char *summary;

	/* Can this host run it? 1 yes, 0 no (*out_reason). Fills *out_info when it can.
	 * `want_version` costs a process. */
	int (*probe)(bool want_version, HypervisorInfo *out_info, char **out_reason, Error **err);
	/* Write the plan. ERR_UNSUPPORTED, ERR_MISSING_TOOL, ERR_USAGE (bounds of cpus, memory)
	 * before anything starts. */
	int (*plan)(const LaunchRequest *request, LaunchPlan *out_plan, Error **err);
	/* The living hypervisor process of this VM whatever was recorded: 1 found, 0 none. Scans
	 * processes; for reconcile, not for hot paths. */
	int (*find_process)(const char *instance_id, const char *vm_id, ProcId *out_id,
			    Error **err);
} HypervisorBackend;
