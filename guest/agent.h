/*
 * The agent: serves the host over one channel, single-threaded, in bounded memory.
 *
 * It lives in one of three states: no port (waits for device announcements), a port without a host
 * (waits for SIGIO), and connected. In none of them does it spin, and no byte from the host can
 * make it end: garbage ends the session, and the next HELLO begins another.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/wire.h"
#include "held.h"
#include "output.h"
#include "power.h"
#include "stream.h"

/*
 * A process group whose stream was reset: it got SIGHUP, and gets SIGKILL at the deadline. Its
 * leader is not reaped before that, so that the number stays theirs.
 */
typedef struct Victim {
	pid_t leader;
	uint64_t deadline_ms;
	bool is_killed;
} Victim;

struct Agent {
	int channel;	 /* the port, or -1 */
	int devices;	 /* device announcements, or -1 */
	int signals;	 /* signalfd: SIGCHLD, SIGIO */
	bool is_machine; /* serves a whole machine; false: a given fd, and the machine is left alone
			  */
	bool has_host;	 /* the other end of the channel is open */
	bool child_died; /* since the last round */
	bool has_news;	 /* devices changed: the disk is to be looked at */
	uint64_t session;
	uint64_t root_bytes; /* the size of the device that / is on, when it was last looked at */
	PowerAction power;   /* to be done once the answer is on its way */
	uint64_t power_deadline_ms;
	Stream *streams;
	unsigned stream_count;
	Stream *freeze; /* the one that holds the filesystems frozen, or NULL */
	Held held;
	Victim victims[WIRE_STREAMS_MAX];
	unsigned victim_count;
	WireParser parser;
	Output out;
	struct pollfd fds[3 + WIRE_STREAMS_MAX * STREAM_FDS_MAX];
};

/*
 * Serve until the channel ends for good. `channel` is a connected socket whose end is the end (then
 * services that change the machine are refused), or -1: find the port, and never return. The
 * process must have no children of its own.
 */
int agent_run(int channel);

/* For services: power off or reboot as soon as the answer has left. */
void agent_request_power(Agent *agent, PowerAction action);

/* For services: SIGHUP to the process group now, SIGKILL later; the agent reaps its leader. */
void agent_end_group(Agent *agent, pid_t leader);
