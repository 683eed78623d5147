/*
 * Random UUIDs (RFC 9562, version 4) in their usual text form.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/compiler.h"

#define UUID_TEXT_LEN 36

char *uuid_new(void) MUST_USE; /* owned */
bool uuid_is_valid(const char *text);
/* The first 8 hex digits: unique enough within an installation to name sockets and trash. Owned. */
char *uuid_short(const char *uuid) MUST_USE;

/* FNV-1a, 64 bits: names derived from paths. Not for untrusted collisions. */
uint64_t hash_text(const char *text);
