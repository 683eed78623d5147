/*
 * Who uses which bytes of the store. Readers: no lock is taken and nothing is written.
 *
 * The store counts by volume; here the volumes get the names of the VMs and images that they
 * belong to. A VM is counted with its snapshots. Figures that nobody can know are STORAGE_UNKNOWN.
 */
#pragma once

#include "model/vm.h"
#include "ops/context.h"

/* What something takes, be it one volume or several; bytes. */
typedef struct UsageFigures {
	uint64_t provisioned;
	uint64_t referenced;
	uint64_t exclusive;
	uint64_t logical;
} UsageFigures;

/* Of what is referenced, that which others reach too. */
uint64_t usage_shared(const UsageFigures *figures);

/* Arithmetic with figures that may be STORAGE_UNKNOWN: so is the result then. */
uint64_t usage_sum(uint64_t one, uint64_t other);
/* How much `less` is less than `more`; 0 when it is not. */
uint64_t usage_saved(uint64_t more, uint64_t less);

typedef enum UsageKind {
	USAGE_VM,	/* its disk and its snapshots */
	USAGE_SNAPSHOT, /* a part of the VM before it */
	USAGE_IMAGE,
	USAGE_PENDING, /* of something that is being made or removed right now, or was when ember was killed */
	USAGE_ORPHAN, /* no record knows it */
} UsageKind;

typedef struct UsageRow {
	UsageKind kind;
	char *name;  /* of a PENDING or ORPHAN the volume's */
	char *owner; /* of a PENDING: "vm web" */
	UsageFigures figures;
} UsageRow;

typedef struct UsageReport {
	const char *storage; /* name of the back end */
	StorageUsage pool;   /* its figures, and those of each volume by itself */
	UsageRow *rows;	     /* by kind (snapshots follow their VM), then by name */
	size_t count;
} UsageReport;

void usage_report_release(UsageReport *report);
#define auto_usage_report CLEANUP(usage_report_release)

/* The whole truth, or the error that stands in its way. */
int ops_usage(Context *ctx, UsageReport *out_report, Error **err);
/* Sums over all volumes: what is shared is in them once for each. */
UsageFigures usage_of_all(const UsageReport *report);
/* For those who show it beside other things: an empty report when there is none. A store that is
 * not there right now is not opened for it. */
void ops_usage_peek(Context *ctx, UsageReport *out_report);
/* All STORAGE_UNKNOWN when there is no such row; `name` may be NULL. */
UsageFigures usage_find(const UsageReport *report, UsageKind kind, const char *name);

/* What each of all VMs has to itself: the `exclusive` of the report, in the list's order. Owned. */
uint64_t *ops_usage_of_vms(Context *ctx, const VmList *vms);
