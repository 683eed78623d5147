/*
 * One keeper a VM: the lock on RUN/ID8/keeper.lock, held for the life of the process.
 */
#pragma once

#include "model/launch.h"
#include "util/deadline.h"
#include "util/error.h"

/* Make the run directory and hold it. A former keeper that is just leaving is waited for; ERR_BUSY
 * when there still is one at the deadline. */
int claim_take(const LaunchPlan *plan, Deadline until, int *out_fd, Error **err);
/* Remove the sockets and the directory, and let go. What a successor put there stays. */
void claim_drop(const LaunchPlan *plan, int *fd);
