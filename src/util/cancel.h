/*
 * Ctrl-C: SIGINT, SIGTERM and SIGHUP set a flag that every wait looks at, so that an interrupted
 * command undoes what it did and exits with 130. A second signal of the same kind kills the process
 * the ordinary way.
 */
#pragma once

#include <stdbool.h>

#include "util/error.h"

void cancel_install(void);
bool cancel_requested(void);
/* 0, or -1 with ERR_CANCELED. */
int cancel_check(Error **err);
