/*
 * What a keeper leaves behind when its VM has ended: the exit report, no run directory, and a record
 * that says `stopped`.
 *
 * The record is changed under the VM's operation lock, and only if that is free: who holds it (an
 * `ember vm stop` that waits for us, say) writes the record itself. The run directory goes while
 * the lock is held, so that a start that comes next finds all of it done. Whatever fails here is
 * logged and left to reconcile, which finds a dead process in the record.
 */
#pragma once

#include "keeper/claim.h"
#include "model/launch.h"
#include "util/process.h"

/* Drops the claim. */
void ending_write(const LaunchPlan *plan, const ProcId *hypervisor, const char *reason, int status,
		  Claim *claim);
