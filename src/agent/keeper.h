/*
 * Starting a keeper: the program that starts one VM's hypervisor, or adopts the one that runs, and
 * then watches it (src/keeper/main.c).
 */
#pragma once

#include "util/deadline.h"
#include "util/error.h"
#include "util/process.h"

/* Both of a VM's processes. */
typedef struct KeeperIds {
	ProcId keeper;
	ProcId hypervisor;
} KeeperIds;

/*
 * Start the VM of the launch plan at `plan_path`, with the keeper at the path `program`; or, when
 * `adopt` is not NULL, watch that hypervisor, which runs already. Returns when the hypervisor runs
 * (the guest has only begun to boot). On failure nothing runs that did not run before, and the
 * error's detail has the last lines that the hypervisor said.
 *
 * If the caller dies before this returns, the keeper ends a VM that it started; an adopted one goes
 * on.
 */
int keeper_start(const char *program, const char *plan_path, const ProcId *adopt, Deadline until,
		 KeeperIds *out_ids, Error **err);
