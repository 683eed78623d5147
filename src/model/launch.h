/*
 * The launch plan: all that the keeper must know to start, watch and stop one VM. The hypervisor
 * back end makes it, it is kept in the VM's directory (launch.json, 0600), and a keeper that adopts
 * a running VM reads it again.
 */
#pragma once

#include "util/compiler.h"
#include "util/str.h"

/*
 * The keeper makes the listening sockets `control_socket` and `agent_socket` itself and hands them
 * to the hypervisor under these numbers: it can connect to both at once, instead of waiting for
 * them to appear.
 */
#define LAUNCH_CONTROL_FD 3
#define LAUNCH_AGENT_FD	  4

typedef struct LaunchPlan {
	char *vm_name;
	char *vm_id;
	char *driver;	      /* which protocol the keeper speaks to the hypervisor: qemu */
	char *hypervisor;     /* name of the back end, for the record */
	char *accelerator;    /* kvm, tcg */
	Strv argv;	      /* the hypervisor's command line; argv[0] is a path */
	char *state_dir;      /* of the installation: for the record and the lock at the end */
	char *vm_dir;	      /* console.log, hypervisor.log, keeper.log, exit.json */
	char *run_dir;	      /* sockets; removed at the end */
	char *control_socket; /* QMP */
	char *agent_socket;   /* the agent's byte stream */
	char *keeper_socket;  /* where `ember` talks to the keeper */
} LaunchPlan;

/* How a VM ended (exit.json): written by the keeper before it leaves. */
typedef struct ExitReport {
	char *reason; /* guest-shutdown, guest-reset, guest-panic, stopped, killed, crashed, unknown
		       */
	int status; /* exit status of the hypervisor, 128+n for a signal, -1 unknown (an adopted VM)
		     */
	char *at;   /* RFC 3339 UTC */
} ExitReport;

void launch_plan_release(LaunchPlan *plan);
#define auto_launch_plan CLEANUP(launch_plan_release)
void exit_report_release(ExitReport *report);
#define auto_exit_report CLEANUP(exit_report_release)
