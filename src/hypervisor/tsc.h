/*
 * How fast the host's time stamp counter runs.
 *
 * Under software emulation the guest reads the host's counter but has nothing to calibrate it
 * against: on a microvm with ACPI and without a PIT it would hang trying. So the guest is told.
 */
#pragma once

#include <stdint.h>

#include "util/error.h"

/* In kHz: measured over 20 ms, once per boot of the host; remembered in `cache_dir`. */
int tsc_khz(const char *cache_dir, uint64_t *out_khz, Error **err);
