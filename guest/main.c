/*
 * ember-guest: the first program of a guest and its agent, in one static file.
 *
 *	PID 1                          init (init.h)
 *	ember-guest agent              the agent, for a machine that another init started
 *	ember-guest agent --channel FD the agent on a connected socket, which leaves the machine
 *alone ember-guest version
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "base.h"
#include "init.h"

const char program_name[] = "ember-guest";

int main(int argc, char **argv)
{
	if (getpid() == 1)
		init_run();
	if (argc == 2 && strcmp(argv[1], "version") == 0)
		return puts("ember-guest " EMBER_VERSION) < 0;
	if (argc == 2 && strcmp(argv[1], "agent") == 0)
		return agent_run(-1) < 0;
	if (argc == 4 && strcmp(argv[1], "agent") == 0 && strcmp(argv[2], "--channel") == 0)
		return agent_run(atoi(argv[3])) < 0;
	(void)fputs("usage: ember-guest agent [--channel FD] | version\n", stderr);
	return 2;
}
