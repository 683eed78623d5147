/*
 * Kernels of the installation.
 */
#pragma once

#include "model/kernel.h"
#include "ops/context.h"

/* All of kernels/, the default one marked. */
int ops_kernel_list(Context *ctx, KernelList *out_list, Error **err);

/* The kernel a VM names: NULL or "stock" is fetched when it is not here yet (offline the second
 * time), a name is looked up, a path is checked for its magic (ELF, bzImage, arm64 Image). */
int ops_kernel_resolve(Context *ctx, const char *wish, Kernel *out_kernel, Error **err);
/* Only the checks that need no network: is the wish a preset, a known name, or a file with a
 * kernel's magic? */
int ops_kernel_check(Context *ctx, const char *wish, Error **err);

/* Make an owned wish fit for a record: a path becomes absolute, a name (or NULL) stays. */
int kernel_wish_absolute(char **wish, Error **err);
