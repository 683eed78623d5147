/*
 * Packages of the distribution's archive, fetched by apt as any user: its own lists and cache in `work_dir`, the host's
 * sources and keys, so that signatures are checked as always.
 */
#pragma once

#include "util/error.h"

/* Fetch the index of packages. A failure may be that of one source among many: what the others have is there. */
int apt_update(const char *work_dir, Error **err);
/* The first package that `package` (a meta package) depends on whose name begins with `prefix`. Owned. */
int apt_dependency(const char *work_dir, const char *package, const char *prefix, char **out_name,
		   Error **err);
/* The version of it that the archive has. Owned. */
int apt_candidate(const char *work_dir, const char *package, char **out_version, Error **err);
/* Download `package` and unpack it below the directory `into`. */
int apt_unpack(const char *work_dir, const char *package, const char *into, Error **err);
