/*
 * Sizes and times as people write and read them.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#include "util/error.h"

#define KIB (1ULL << 10)
#define MIB (1ULL << 20)
#define GIB (1ULL << 30)
#define TIB (1ULL << 40)

/* "512M", "4GiB", "8k": binary, case-insensitive, a unit is required. Bare numbers, MB, decimals,
 * signs, zero and overflow are ERR_USAGE with the spelling that works. `flag` names what was being
 * set: "--memory". */
int size_parse(const char *flag, const char *text, uint64_t *out_bytes, Error **err);
/* The same, and a whole number of MiB. */
int size_parse_mib(const char *flag, const char *text, uint64_t *out_mib, Error **err);
/* "1.5 GiB", "512 MiB", "0 B"; owned. */
char *size_text(uint64_t bytes);
/* The same exactly and as size_parse takes it: "16G"; what is below a MiB is left off. Owned. */
char *size_typed(uint64_t bytes);

/* RFC 3339 UTC with seconds: "2026-11-23T10:16:00Z"; owned. */
char *time_text_now(void);
/* The reverse; -1 when it is not one. */
int time_parse(const char *text, time_t *out_time);
/* "3m", "2h5m", "4d" since then; owned. */
char *time_text_age(time_t since, time_t now);
