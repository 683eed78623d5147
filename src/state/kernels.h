/*
 * kernels/NAME/kernel.json: which files a kernel of this installation is. Files are named relative to its directory, so the
 * state directory may move.
 */
#pragma once

#include "model/kernel.h"
#include "state/store.h"
#include "util/error.h"

char *store_kernel_dir(const Store *store, const char *name);
/* ERR_NOT_FOUND when there is none of that name. */
int kernels_read(const Store *store, const char *name, Kernel *out_kernel, Error **err);
/* Into the directory that has (or will have) its files. Durable. */
int kernels_write_at(const char *dir, const Kernel *kernel, Error **err);
/* What it was built from, or NULL: it was not built here. Owned. */
char *kernels_read_recipe(const Store *store, const char *name);
/* Where the output of a build that failed is kept; no kernel can have that name. Owned. */
char *kernels_log_path(const Store *store, const char *name);
/* Where one is compiled: a path without a colon, which make does not take. Owned. */
char *kernels_work_dir(const Store *store, const char *name);
/* All readable ones, sorted by name. */
int kernels_list(const Store *store, KernelList *out_list, Error **err);
