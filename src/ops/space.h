/*
 * The store's own size: made larger, and relieved of what nobody needs any more.
 */
#pragma once

#include "ops/context.h"

typedef struct GrowReport {
	StorageCapacity before, after;
} GrowReport;

/* Make the store larger, to `size_bytes` in all; VMs may run meanwhile. Killed anywhere, the store is
 * whole and the same call does the rest. ERR_UNSUPPORTED where a store has no size of its own,
 * ERR_USAGE for a shrink. */
int ops_storage_grow(Context *ctx, uint64_t size_bytes, GrowReport *out_report, Error **err);

typedef struct TrimmedVm {
	char *name;
	uint64_t trimmed_bytes; /* what its guest had not used and not said so */
} TrimmedVm;

typedef struct TrimReport {
	TrimmedVm *vms;
	size_t count;
	/* What the store takes from its host; STORAGE_UNKNOWN where nobody can tell. */
	uint64_t before_bytes;
	uint64_t after_bytes;
} TrimReport;

void trim_report_release(TrimReport *report);
#define auto_trim_report CLEANUP(trim_report_release)

/* Called for a VM that could not be trimmed; takes the error. The others and the store still are. */
typedef void (*TrimFailed)(void *arg, const char *name, Error *why);

/* The guests of these VMs, or of all that run when `count` is 0, tell their disks what they do not use;
 * then the store gives back to its host what no disk uses. */
int ops_storage_trim(Context *ctx, const char *const *names, size_t count, TrimFailed failed,
		     void *arg, TrimReport *out_report, Error **err);
