/*
 * The machine: one VM from the start of its hypervisor's process to the end of it.
 *
 * Stopping is a ladder. Each rung gets its share of the time that the user gave, and one that
 * cannot be tried at all is skipped:
 *	half of the time	the guest's agent is asked to power off
 *	the rest		the firmware's power button is pressed
 *	QUIT_PATIENCE_MS	the hypervisor is told to quit, which still flushes its disks
 *	then			SIGKILL
 *
 * A VM whose disk takes no more writes, as for want of room on the host, is stopped by the hypervisor
 * before the guest learns of it (QEMU's werror=stop). It is resumed every STUCK_RETRY_MS, until it
 * stays running.
 */
#pragma once

#include "keeper/child.h"
#include "keeper/driver.h"
#include "keeper/loop.h"
#include "model/launch.h"

typedef enum MachineState {
	MACHINE_STARTING, /* the hypervisor has not answered yet */
	MACHINE_RUNNING,
	MACHINE_PAUSED,
	MACHINE_STUCK, /* a write to its disk failed; tried again and again */
	MACHINE_GONE,  /* the process has ended and is reaped */
} MachineState;

typedef enum StopRung {
	STOP_NOT, /* nobody wants it to stop */
	STOP_AGENT,
	STOP_POWER_BUTTON,
	STOP_QUIT,
	STOP_KILL,
} StopRung;

typedef struct MachineOwner {
	/* The state or the rung changed. */
	void (*changed)(void *arg);
	/* Pausing, resuming or changing the disk was refused. */
	void (*refused)(void *arg, DriverRequest request, const char *why);
	/* DRIVER_DISK_RESIZE or DRIVER_DISK_SWITCH has succeeded. */
	void (*done)(void *arg, DriverRequest request);
	/* The first rung. False: the agent is not there. */
	bool (*ask_guest)(void *arg);
} MachineOwner;

typedef struct Machine {
	Loop *loop;
	const LaunchPlan *plan; /* borrowed */
	const MachineOwner *owner;
	void *arg;
	MachineState state;
	Child child;
	Source child_source;
	const Driver *driver;
	void *driver_state;
	char *driver_failure; /* why the control socket broke; NULL: it did not */
	char *shutdown_cause; /* as the hypervisor told it; NULL: it did not */
	StopRung rung;
	Deadline stop_until;
	Timer stop_timer;
	Timer retry_timer;    /* MACHINE_STUCK */
	bool is_tried;	      /* MACHINE_STUCK: resumed, and no write has failed since */
	bool is_pause_wanted; /* somebody paused it: it is not for us to resume */
	int exit_status;      /* MACHINE_GONE: as in ExitReport */
} Machine;

/* Start the plan's hypervisor, or watch `adopt` when it is not NULL. */
int machine_open(Machine *machine, Loop *loop, const LaunchPlan *plan, const ProcId *adopt,
		 const MachineOwner *owner, void *arg, Error **err);
/* Connect to it. What comes of that is told. */
int machine_connect(Machine *machine, Error **err);
/* The start has failed: kill what we started, unless it is about to end by itself, and wait for its
 * end. Adopted, or gone: nothing. */
void machine_destroy(Machine *machine);
void machine_release(Machine *machine);

/* starting, running, paused, stopping */
const char *machine_state_word(const Machine *machine);

/* Begin to stop, or hurry up when that has begun. */
void machine_stop(Machine *machine, uint32_t timeout_ms);
void machine_kill(Machine *machine);
/* The agent refused: next rung. */
void machine_agent_refused(Machine *machine);
/* The guest's agent answers from now on: a stop that waits for the guest asks it. */
void machine_agent_ready(Machine *machine);
/* DRIVER_PAUSE or DRIVER_RESUME; the outcome is told. False: the hypervisor does not listen. */
bool machine_request(Machine *machine, DriverRequest request);
bool machine_can_resize_disk(const Machine *machine);
bool machine_can_switch_disk(const Machine *machine);
/* The outcome is told. False: the hypervisor does not listen, or a change of the disk is under way. */
bool machine_resize_disk(Machine *machine, uint64_t size_bytes);
bool machine_switch_disk(Machine *machine, const char *overlay);

/* MACHINE_GONE: the word for the exit report (model/launch.h). Borrowed. */
const char *machine_exit_reason(const Machine *machine);
