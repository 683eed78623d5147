/*
 * What kind of kernel image a file is, by its magic numbers.
 *
 * ELF: "\177ELF" (elf(5)); bzImage: "HdrS" at 0x202 and 0x55AA at 0x1fe
 * (Documentation/arch/x86/boot.rst); arm64 Image: "ARM\x64" at 0x38
 * (Documentation/arch/arm64/booting.rst).
 */
#pragma once

#include "util/error.h"

typedef enum KernelFormat { KERNEL_ELF, KERNEL_BZIMAGE, KERNEL_ARM64 } KernelFormat;

/* ERR_NOT_FOUND for a missing file, ERR_USAGE for anything that is no kernel. */
int kernel_format_of(const char *path, KernelFormat *out_format, Error **err);
