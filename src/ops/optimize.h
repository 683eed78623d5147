/*
 * Disks that were copied over and over, made fast again.
 */
#pragma once

#include "model/vm.h"
#include "ops/context.h"

typedef struct OptimizeReport {
	Strv vms; /* those whose disks were changed */
	Strv images;
} OptimizeReport;

void optimize_report_release(OptimizeReport *report);
#define auto_optimize_report CLEANUP(optimize_report_release)

/* Called for what could not be optimized; takes the error. The others still are. */
typedef void (*OptimizeFailed)(void *arg, const char *name, Error *why);

/* The disks of these VMs, or of all that do not run and of all images when `count` is 0. A VM that is started meanwhile
 * does not wait for us. */
int ops_storage_optimize(Context *ctx, const char *const *names, size_t count,
			 OptimizeFailed failed, void *arg, OptimizeReport *out_report, Error **err);

/* After a stop: the same by another process, which nobody waits for. Never fails. */
void optimize_in_background(Context *ctx, const Vm *vm);
