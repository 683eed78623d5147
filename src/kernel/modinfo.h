/*
 * What a kernel module says about itself: the "depends=" line of its .modinfo section (an ELF section of NUL-terminated
 * NAME=VALUE texts; include/linux/module.h of the Linux source).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/str.h"

/* The modules it needs, by name; none is an empty list. Any bytes may be given; ERR_FAILED for what is no 64-bit
 * little-endian ELF file with such a section. */
int modinfo_depends(const uint8_t *data, size_t len, Strv *out_names, Error **err);
