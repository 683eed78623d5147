/*
 * What a kernel image says about itself: for which machine it is, and its release (`uname -r`).
 *
 * ELF: e_machine, the banner "Linux version RELEASE " (init/version.c of the Linux source), and whether it has the PVH
 * entry point at which QEMU starts it (a "Xen" note of type 18, include/xen/interface/elfnote.h). bzImage: kernel_version
 * at 0x20e and bit 0 of xloadflags at 0x236 (Documentation/arch/x86/boot.rst). arm64 Image: the banner.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/magic.h"

typedef struct KernelFacts {
	const char *arch; /* x86_64, aarch64; NULL: another one */
	char *version;	  /* NULL: it does not tell, as when it is compressed */
	bool has_pvh;	  /* ELF only */
} KernelFacts;

#define KERNEL_IMAGE_MAX (1U << 30) /* bytes: one with debugging information has a third of it */

void kernel_facts_release(KernelFacts *facts);

/* Any bytes may be given. */
void kernel_identify(const uint8_t *data, size_t len, KernelFormat format, KernelFacts *out_facts);
/* Of a file that nobody changes meanwhile; ERR_NOT_FOUND, ERR_USAGE for what is no kernel. */
int kernel_identify_file(const char *path, KernelFacts *out_facts, KernelFormat *out_format,
			 Error **err);
/* Can a VM on a host of that machine start it? ERR_UNSUPPORTED; `what` names it in the error. */
int kernel_check_bootable(const KernelFacts *facts, KernelFormat format, const char *host_arch,
			  const char *what, Error **err);
