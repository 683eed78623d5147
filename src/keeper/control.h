/*
 * The keeper's socket: where any number of `ember` processes of the same user (or root) talk to the
 * VM. The frames are those of agent/wire.h. Guest services are relayed (relay.h); these are the
 * keeper's own, each answered by one CLOSE, with ERROR and MESSAGE when it failed:
 *
 *   service     OPEN           CLOSE
 *   status                     STATE (starting, running, paused, stopping), FLAGS (WIRE_STATUS_*), PID and STARTED
 *                              of the hypervisor, SESSION of the agent's channel, UPTIME_MS of the VM
 *   wait-ready  TIMEOUT_MS?    when the agent answers; ERROR timeout, state (the VM ended), unsupported
 *   stop        TIMEOUT_MS?    when the hypervisor has gone and all that it had is released: STATE is the
 *                              reason as in ExitReport (model/launch.h). A second stop can only hurry.
 *   kill                       the same, at once
 *   pause                      when the vCPUs stand still
 *   resume                     when they run
 *
 * Without TIMEOUT_MS, wait-ready waits for ever and stop gives the guest STOP_TIMEOUT_MS.
 */
#pragma once

#include "keeper/channel.h"
#include "keeper/loop.h"
#include "keeper/machine.h"
#include "keeper/relay.h"

#define STOP_TIMEOUT_MS 20000

typedef struct Conn Conn;

typedef struct Control {
	Loop *loop;
	Source listener;
	Machine *machine;
	Channel *channel;
	Relay *relay;
	Conn *conns;
} Control;

int control_open(Control *control, Loop *loop, const char *socket, Machine *machine,
		 Channel *channel, Relay *relay, Error **err);
/* Nobody new from here on. */
void control_stop_listening(Control *control);
/* Answer those who wait for what the machine and the channel now are. */
void control_changed(Control *control);
void control_refused(Control *control, DriverRequest request, const char *why);
/* Drop clients that have gone, go on with those that had to wait; when no callback runs. */
void control_tend(Control *control);
/* Send what is still to be sent, for at most so long, and drop everybody. */
void control_close(Control *control, Deadline until);
