/*
 * One keeper a VM: the lock on RUN/ID8/keeper.lock, held for the life of the process.
 */
#pragma once

#include "model/launch.h"
#include "util/deadline.h"
#include "util/error.h"

/* The directory is held open besides the lock: a path may lead to that of a successor. */
typedef struct Claim {
	int dir_fd;
	int lock_fd; /* -1: nothing is claimed */
} Claim;

#define CLAIM_NONE ((Claim){ .dir_fd = -1, .lock_fd = -1 })

/* Make the run directory and hold it. A former keeper that is just leaving is waited for; ERR_BUSY
 * when there still is one at the deadline. */
int claim_take(const LaunchPlan *plan, Deadline until, Claim *out_claim, Error **err);
/* Remove the sockets and the directory, and let go. What a successor put there stays. Nothing
 * claimed: nothing. */
void claim_drop(const LaunchPlan *plan, Claim *claim);
/* Let go, and leave everything there. */
void claim_release(Claim *claim);
