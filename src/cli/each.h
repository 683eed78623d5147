/*
 * Several names: each is tried, failures are reported one by one, and the exit status is that of
 * the first. In JSON the answers come as one array (one object when one name was given) and the
 * first failure follows as the last line.
 */
#pragma once

#include "cli/cmd.h"

/* Do it for one name; *out_doc is its JSON answer, filled when the output is JSON. */
typedef int (*EachFn)(App *app, const char *name, const void *arg, json_t **out_doc, Error **err);

/* The same of a command whose operation goes through the names by itself, and calls each_failed() with one of these for
 * each that failed. */
typedef struct EachFailures {
	App *app;
	bool is_warning; /* it is no error, only something to know */
	Error *first;	 /* for the end of the JSON output */
} EachFailures;

/* `why` is taken. */
void each_failed(void *arg, const char *name, Error *why);
void each_failures_release(EachFailures *failures);
#define auto_each_failures CLEANUP(each_failures_release)
/* What the command ends with: -1 and the first failure, if it is still to be told. */
int each_end(EachFailures *failures, Error **err);

int each_name(App *app, const char *const *names, size_t count, bool is_array, EachFn fn,
	      const void *arg, Error **err);
