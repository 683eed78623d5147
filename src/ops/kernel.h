/*
 * Kernels of the installation.
 */
#pragma once

#include "model/kernel.h"
#include "model/vm.h"
#include "ops/context.h"

#define KERNEL_STOCK "stock" /* the distribution's; fetched when it is needed */
#define KERNEL_EMBER "ember" /* the name of what `kernel build` makes, when none is given */

typedef struct KernelBuildOptions {
	unsigned jobs;	    /* 0: as many as there are processors */
	const char *config; /* a fragment that is added to ours; NULL: none */
	const char *source; /* a directory or a tarball; NULL: the distribution's */
	bool refresh;	    /* ask the archive for a newer source */
	bool make_default;
} KernelBuildOptions;

typedef struct KernelAddOptions {
	const char *path;
	const char *initrd; /* NULL: none */
	bool make_default;
} KernelAddOptions;

/* All of kernels/, the default one marked. */
int ops_kernel_list(Context *ctx, KernelList *out_list, Error **err);

/* One of them, marked as the list marks it. */
int ops_kernel_find(Context *ctx, const char *name, Kernel *out_kernel, Error **err);

/* Compile one, unless the one of that name (NULL: ember) was made from the same source, options and compiler; then
 * *out_existed. One that was made from others is replaced. */
int ops_kernel_build(Context *ctx, const char *name, const KernelBuildOptions *options,
		     Kernel *out_kernel, bool *out_existed, Error **err);
/* Copy one in. ERR_EXISTS, ERR_USAGE (no kernel), ERR_UNSUPPORTED (not for this host). */
int ops_kernel_add(Context *ctx, const char *name, const KernelAddOptions *options,
		   Kernel *out_kernel, Error **err);
/* ERR_BUSY while it is the default, or VMs name it. */
int ops_kernel_delete(Context *ctx, const char *name, Error **err);
/* What VMs boot that name no kernel, from their next start on: a name, `stock`, or a path. */
int ops_kernel_set_default(Context *ctx, const char *wish, Error **err);

/* The kernel a VM names: NULL or "stock" is fetched when it is not here yet (offline the second
 * time), a name is looked up, a path is checked for its magic (ELF, bzImage, arm64 Image). */
int ops_kernel_resolve(Context *ctx, const char *wish, Kernel *out_kernel, Error **err);
/* Only the checks that need no network: is the wish a preset, a known name, or a file with a
 * kernel's magic? */
int ops_kernel_check(Context *ctx, const char *wish, Error **err);

/* The same, and a kernel that is named stays until the lock is closed; *out_lock is left alone when there is nothing to hold. */
int kernel_hold(Context *ctx, const char *wish, int *out_lock, Error **err);

/* One command at a time may use apt's private state (kernels/.apt); waits for the other. */
int kernel_lock_archive(Context *ctx, int *out_fd, Error **err);

/* Make an owned wish fit for a record: a path becomes absolute, a name (or NULL) stays. */
int kernel_wish_absolute(char **wish, Error **err);
/* Put it into a VM's record like that. */
int kernel_wish_for(Vm *vm, const char *wish, Error **err);
