/*
 * The kernel's own build system, driven from outside its source: configuration and objects go into a directory of ours.
 *
 * The environment is ours too, so that a user's CROSS_COMPILE or LLVM changes nothing, and what goes into the image beside
 * the source is fixed: the same source, fragment and compiler give the same bytes.
 */
#pragma once

#include <stdint.h>

#include "kernel/fragment.h"
#include "util/error.h"

typedef struct Kbuild {
	const char *source_dir;
	const char *object_dir; /* exists */
	const char *temp_dir;	/* for the compiler; exists */
	const char *arch;	/* x86_64, aarch64 */
	const char *log;	/* the output is appended to this file */
	unsigned jobs;
	/* So many files are done; may be NULL. */
	void (*progress)(void *arg, uint64_t files);
	void *arg;
} Kbuild;

/* What is missing on this host, all at once: ERR_MISSING_TOOL with one line to type. `extra` are programs that the source
 * needs besides (NULL-terminated). */
int kbuild_check_tools(const char *const *extra, Error **err);
/* Versions of compiler and linker, as one line each. Owned. */
int kbuild_toolchain(char **out_text, Error **err);

/* Make the configuration that the fragment asks for, and nothing else. ERR_UNSUPPORTED names what it did not come to. */
int kbuild_configure(const Kbuild *kbuild, const Fragment *fragment, Error **err);
/* Compile; the image that QEMU boots is left in `image`, without symbols. */
int kbuild_compile(const Kbuild *kbuild, const char *image, uint64_t *out_files, Error **err);
