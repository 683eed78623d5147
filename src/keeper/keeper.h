/*
 * The keeper: all its parts in one place, wired together.
 */
#pragma once

#include "model/launch.h"
#include "util/process.h"

/* Start (or adopt, when not NULL) the plan's VM, watch it until it has ended, and clean up. Answers
 * on ready_fd as soon as the hypervisor does. The process's exit status. */
int keeper_run(const LaunchPlan *plan, const ProcId *adopt, int ready_fd);
