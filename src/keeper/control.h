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
 *   resume                     when they run; ERROR state while the disk takes no writes: they then run by themselves
 *   disk-resize SIZE           when the guest's disk is of that size; ERROR unsupported, busy, state
 *   disk-switch PATH           when the guest writes to that qcow2 file, which is on top of what its disk was;
 *                              the same errors
 *   hold        TIMEOUT_MS?; EOF
 *                              INFO when they stand still. They do until EOF or the end of the stream, so that they run
 *                              again whatever becomes of the client, and for at most TIMEOUT_MS, should it hang; then
 *                              CLOSE: FLAGS HELD_US. WIRE_HOLD_EXPIRED: they ran before the EOF came. A VM that was
 *                              paused stays so.
 *
 * Without TIMEOUT_MS, wait-ready waits for ever, stop gives the guest STOP_TIMEOUT_MS, and a hold lasts HOLD_TIMEOUT_MS.
 */
#pragma once

#include "keeper/channel.h"
#include "keeper/loop.h"
#include "keeper/machine.h"
#include "keeper/relay.h"

#define STOP_TIMEOUT_MS 20000
#define HOLD_TIMEOUT_MS 10000

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
void control_done(Control *control, DriverRequest request);
void control_refused(Control *control, DriverRequest request, const char *why);
/* Drop clients that have gone, go on with those that had to wait; when no callback runs. */
void control_tend(Control *control);
/* Send what is still to be sent, for at most so long, and drop everybody. */
void control_close(Control *control, Deadline until);
