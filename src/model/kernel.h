/*
 * A kernel of this installation.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/compiler.h"

typedef struct Kernel {
	char *name;    /* stock, or what the user called it */
	char *path;    /* vmlinux, bzImage or arm64 Image */
	char *initrd;  /* NULL: everything it needs is built in */
	char *version; /* uname -r, NULL when unknown */
	char *arch;    /* x86_64, aarch64 */
	unsigned long long size_bytes;
	unsigned long long build_files; /* how many its build compiled; 0: it was not built here */
	bool is_default;
} Kernel;

void kernel_release(Kernel *kernel);
#define auto_kernel CLEANUP(kernel_release)

typedef struct KernelList {
	Kernel *items;
	size_t count;
} KernelList;

void kernel_list_push_take(KernelList *list, Kernel *kernel); /* leaves *kernel empty */
void kernel_list_release(KernelList *list);
#define auto_kernel_list CLEANUP(kernel_list_release)
