/*
 * The source that a kernel is compiled from: the distribution's package, or a directory or tarball of the user.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

typedef struct KernelSource {
	char *identity;	 /* one line that changes when the source does; NULL: not known yet */
	char *directory; /* to compile where it is, without writing to it; or NULL */
	char *tarball;	 /* to unpack; or NULL */
	char *package;	 /* of the archive, to be looked up and fetched; or NULL */
} KernelSource;

void kernel_source_release(KernelSource *source);
#define auto_kernel_source CLEANUP(kernel_source_release)

/*
 * What there is, without the network. `wish` is a directory or a tarball; NULL: the newest linux-source package in
 * /usr/src, unless `from_archive`, else the archive's.
 */
int kernel_source_find(const char *wish, bool from_archive, KernelSource *out_source, Error **err);

/* Is it a line that a package has? */
bool kernel_source_is_package(const char *identity);

/* Ask the archive which package it has now: fills identity. `apt_dir` as in apt.h. */
int kernel_source_look_up(KernelSource *source, const char *apt_dir, Error **err);
/* Fetch what was looked up and unpack the package into `into`: fills tarball. */
int kernel_source_fetch(KernelSource *source, const char *apt_dir, const char *into, Error **err);

/* Unpack the tarball into the empty directory `into`: all but documentation, tests and what other machines need. */
int kernel_source_unpack(const KernelSource *source, const char *arch, const char *into,
			 Error **err);
