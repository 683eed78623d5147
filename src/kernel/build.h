/*
 * A kernel of our own: source, fragment and compiler make an image.
 *
 * What it is made from is its recipe, a text that is kept beside it: lines "source ...", compiler and linker, the machine,
 * then the options. The same recipe again needs no build.
 */
#pragma once

#include <stdint.h>

#include "kernel/fragment.h"
#include "kernel/source.h"
#include "model/kernel.h"
#include "util/error.h"

typedef struct KernelBuildRequest {
	const KernelSource *source; /* a directory or a tarball */
	const Fragment *fragment;
	const char *toolchain; /* kbuild_toolchain() */
	const char *arch;      /* x86_64, aarch64 */
	const char *work_dir;  /* exists and is empty; what is left in it afterwards is of no use */
	const char *target_dir; /* where vmlinux, config and recipe go; exists and is empty */
	const char *log;	/* of the build; a new file */
	unsigned jobs;
	void (*step)(void *arg, const char *text);
	void (*files)(void *arg, uint64_t done); /* of the step that compiles */
	void *arg;
} KernelBuildRequest;

/* NULL when the source has no identity yet. Owned. */
char *kernel_recipe(const KernelSource *source, const Fragment *fragment, const char *toolchain,
		    const char *arch);
/* The identity of the source in a recipe, or NULL. Owned. */
char *kernel_recipe_source(const char *recipe);

/* What programs it takes, all missing ones named at once. ERR_MISSING_TOOL. */
int kernel_build_check_tools(const KernelSource *source, Error **err);
/* make takes no path with a space or a colon. ERR_UNSUPPORTED. */
int kernel_build_check_paths(const KernelSource *source, const char *work_dir, Error **err);
/* Is there room for it in `dir`? */
int kernel_build_check_space(const KernelSource *source, const char *dir, Error **err);

/* Fills path, version, arch, size and build_files of *out_kernel (name is the caller's). */
int kernel_build(const KernelBuildRequest *request, Kernel *out_kernel, Error **err);
