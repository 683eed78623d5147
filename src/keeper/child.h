/*
 * The hypervisor's process: our child, or one that runs already and is adopted.
 */
#pragma once

#include <stdbool.h>

#include "model/launch.h"
#include "util/error.h"
#include "util/process.h"

typedef struct Child {
	ProcId id;
	int fd; /* readable when it has ended; -1: there is none */
	bool is_ours;
} Child;

/* Make the plan's two listening sockets and start its argv with them; what it prints goes to
 * `log_fd`. It has a session of its own, so that nothing that ends us ends it. */
int child_spawn(const LaunchPlan *plan, int log_fd, Child *out_child, Error **err);
int child_adopt(const ProcId *id, Child *out_child, Error **err);

void child_signal(const Child *child, int signum);
/* It has ended. Its exit status, 128+n for a signal, -1 for an adopted one. */
int child_reap(Child *child);
void child_release(Child *child);
