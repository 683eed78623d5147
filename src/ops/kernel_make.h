/*
 * A kernel in the making: tmp/kernel:NAME/kernel/ has what will be kernels/NAME/, and a rename is the commit. What it takes
 * besides is in kernels/.NAME.work/. The caller holds the operation lock of the name. What a crash leaves of both is removed
 * by the next changing command, as everything in tmp/.
 */
#pragma once

#include "model/kernel.h"
#include "ops/context.h"

typedef struct KernelWork {
	char *dir;     /* tmp/kernel:NAME */
	char *target;  /* tmp/kernel:NAME/kernel */
	char *scratch; /* kernels/.NAME.work */
} KernelWork;

void kernel_work_release(KernelWork *work);

/* Is it a name that a user may give? ERR_USAGE; `stock` is ours. */
int kernel_check_name(const char *name, Error **err);

/* Make the directories, empty. */
int kernel_work_begin(Context *ctx, const char *name, KernelWork *out_work, Error **err);
/* Record it and make it visible; a former kernel of that name gives way in one step: there is one at any time.
 * When this may not last, the work is left to reconcile. */
int kernel_work_commit(Context *ctx, const Kernel *kernel, KernelWork *work, Error **err);
/* Remove what is left of the work. Never fails: what remains is for reconcile, with a warning. */
void kernel_work_end(Context *ctx, const KernelWork *work);
