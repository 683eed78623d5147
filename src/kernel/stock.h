/*
 * The stock kernel: the distribution's cloud kernel, fetched with apt as any user, vmlinux taken
 * out of its bzImage, and an initramfs of ours with the modules a microVM needs.
 */
#pragma once

#include "model/kernel.h"
#include "util/error.h"

typedef struct StockRequest {
	const char *work_dir;	  /* private apt state, downloads; kept as a cache */
	const char *target_dir;	  /* where vmlinux and initrd go; exists and is empty */
	const char *boot_program; /* path of ember-boot, which becomes /init */
	const char *arch;	  /* x86_64, aarch64 */
	void (*step)(void *arg, const char *text); /* progress; may be NULL */
	void *arg;
} StockRequest;

/* Fills path, initrd, version, arch and size of *out_kernel (name is the caller's). */
int stock_kernel_fetch(const StockRequest *request, Kernel *out_kernel, Error **err);
