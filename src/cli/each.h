/*
 * Several names: each is tried, failures are reported one by one, and the exit status is that of
 * the first. In JSON the answers come as one array (one object when one name was given) and the
 * first failure follows as the last line.
 */
#pragma once

#include "cli/cmd.h"

/* Do it for one name; *out_doc is its JSON answer, filled when the output is JSON. */
typedef int (*EachFn)(App *app, const char *name, const void *arg, json_t **out_doc, Error **err);

int each_name(App *app, const char *const *names, size_t count, bool is_array, EachFn fn,
	      const void *arg, Error **err);
