/*
 * Turning the machine off, or on again.
 */
#pragma once

typedef enum PowerAction {
	POWER_NOTHING,
	POWER_OFF,
	POWER_REBOOT,
} PowerAction;

/*
 * Ask the init that is there, in its language, from a process of its own; if the machine is still
 * up when its patience ends, take it down by force. Returns at once.
 */
void power_request(PowerAction action);

/*
 * Take the machine down now: end all processes (as PID 1: with a moment to end by themselves),
 * write everything to disk, make the filesystems clean, and cut the power. Does not return.
 */
void power_perform(PowerAction action) __attribute__((noreturn));

/* Signals that our own init obeys: those of busybox, so that an image's `poweroff` works too. */
#define POWER_SIGNAL_OFF SIGUSR2
/* Of systemd, as numbers: SIGRTMIN differs between the libc it was built with and ours. */
#define POWER_SIGNAL_SYSTEMD_OFF    38
#define POWER_SIGNAL_SYSTEMD_REBOOT 39
