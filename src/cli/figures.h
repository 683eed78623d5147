/*
 * Bytes of the store for people and for programs: what cannot be known is "-", in JSON null.
 */
#pragma once

#include "cli/table.h"
#include "ops/usage.h"

void figure_add(Table *table, uint64_t bytes);
json_t *figure_json(uint64_t bytes); /* a new reference */
char *figure_text(uint64_t bytes);   /* NULL for what cannot be known; owned */

/* All of them: provisioned, referenced, exclusive, shared, logical. A new reference. */
json_t *figures_json(const UsageFigures *figures);
