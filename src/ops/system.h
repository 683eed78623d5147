/*
 * The installation as a whole: make it, take it down, look at it, mend it.
 */
#pragma once

#include "ops/context.h"

typedef struct InitOptions {
	const char *storage;	  /* auto or a name; NULL: auto */
	const char *storage_path; /* file or device of a managed store */
	const char *pool;	  /* zfs: one that is there, or the name of the one to make */
	const char *device;	  /* the same as storage_path, and must be a block device */
	const char *dataset;	  /* zfs: below which everything is made; NULL: one of our own */
	uint64_t size_bytes;	  /* of a managed store's file; 0: 64 GiB, sparse */
	const char *kernel;	  /* stock or a path; NULL: stock */
	const char *hypervisor;	  /* auto or a name */
	const char *network;	  /* auto or a name */
	const char *instance_id;  /* 4 hex digits; NULL: from the state directory's path */
} InitOptions;

/* What init chose, and why. Owned. */
typedef struct InitResult {
	char *storage_reason;
	char *hypervisor_reason;
	char *network_reason;
	bool adopted; /* an existing store was taken over */
} InitResult;

void init_result_release(InitResult *result);

/* ERR_EXISTS "already initialized" with `ember deinit` in the hint. */
int ops_init(Context *ctx, const InitOptions *options, InitResult *out_result, Error **err);
/* Refused with ERR_BUSY while VMs exist. *out_was_there false: there was nothing to do. */
int ops_deinit(Context *ctx, bool with_purge, bool *out_was_there, Error **err);

typedef struct SystemInfo {
	uint64_t images;
	uint64_t vms;
	uint64_t vms_running;
	StorageCapacity capacity;
	bool has_capacity;
} SystemInfo;
int ops_info(Context *ctx, SystemInfo *out_info, Error **err);

typedef enum CheckResult { CHECK_PASS, CHECK_WARN, CHECK_FAIL } CheckResult;

typedef struct DoctorCheck {
	char *name; /* "kvm" */
	CheckResult result;
	char *finding; /* what was seen */
	char *mend;    /* a command, or NULL */
} DoctorCheck;

typedef struct DoctorReport {
	DoctorCheck *items;
	size_t count;
} DoctorReport;

void doctor_report_release(DoctorReport *report);
int ops_doctor(Context *ctx, DoctorReport *out_report, Error **err);

/* What reconcile did (or would do), one sentence each. */
int ops_reconcile(Context *ctx, bool dry_run, Strv *out_actions, Error **err);
