/*
 * Freezing every filesystem of the guest that is on a disk, so that a copy of the disk is whole.
 *
 * Who may not write while they are frozen must not be who is to thaw them, so a process of its own does both (freezer.c).
 * It writes to no file, and thaws when it is told to, when the other end of its pipe is gone, or when its time is over:
 * whatever becomes of the agent or of the host, a guest does not stay frozen.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

typedef enum FreezeWord {
	FREEZE_DONE = 1, /* all are frozen */
	FREEZE_FAILED,	 /* none is; errnum and path say why */
	FREEZE_THAWED,	 /* all are thawed */
} FreezeWord;

#define FREEZE_PATH_MAX 256

/* What the freezer says; one write each. */
typedef struct FreezeReport {
	FreezeWord word;
	int errnum;
	int is_expired;	    /* THAWED: its time was over before it was told to */
	uint64_t frozen_us; /* THAWED: from the first freeze to the last thaw */
	char path[FREEZE_PATH_MAX];
} FreezeReport;

/*
 * Start the freezer. *out_report is read for what it says, closing *out_hold lets it thaw; after `hold_ms` it does so by
 * itself. It is no child of the caller. 0, or -1 with errno.
 */
int freezer_start(uint32_t hold_ms, int *out_report, int *out_hold);
