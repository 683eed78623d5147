/*
 * The second process. The one that was started opens files, waits and cleans up, and never looks at what a stranger
 * wrote; its worker gives up every privilege (confine.h) and does the work. If the worker is killed or crashes, that is
 * an error like any other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

typedef struct Worker {
	const char *title; /* "image builder": who was killed, in messages */
	/* In the worker: 0, or -1 with an error that is then announced as an event. */
	int (*run)(void *arg, void *report, Error **err);
	void *arg;
	char *const
		*bad_blob;  /* where it names a blob that is to blame (events.h); NULL: nowhere */
	void *report;	    /* plain bytes that come back when it succeeds; NULL: none */
	size_t report_size; /* at most 4,096 */
	bool was_ended;	    /* out: it was killed or crashed, and that has been announced */
} Worker;

/* From here on a signal waits for worker_run(), after which its caller cleans up: to be called before there is anything
 * to lose. */
void worker_hold_signals(void);

/* Run it to its end. Returns the exit status of the program; what failed in the worker, or killed it, has then been
 * announced. -1 with an Error when it could not be started. SIGINT, SIGTERM and SIGHUP end it, and stay blocked. */
int worker_run(Worker *worker, Error **err);

/* Announce an error; returns the exit status for it. */
int worker_report(const Error *error);
