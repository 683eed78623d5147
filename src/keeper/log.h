/*
 * keeper.log: what the keeper did and when, on its stderr. A guest can cause lines, so there is an
 * end to them.
 */
#pragma once

#include "util/compiler.h"
#include "util/error.h"

void log_line(const char *fmt, ...) PRINTF(1, 2);
/* A failure that nobody else will hear of; clears it. */
void log_error(Error **err, const char *what);
