/*
 * Completion: what the last word of a command line can be, from the same table that parses it and
 * from the names in the state directory. Reads directories only, no record.
 *
 * Each candidate is a line `WORD` or `WORD<tab>DESCRIPTION`. Two lines are directives to the shell:
 * ":files" (offer local files too) and ":nospace" (the word goes on).
 */
#pragma once

#include "cli/cmd.h"
#include "util/str.h"

/* `words` is the command line behind "ember"; the last one, perhaps empty, is being completed. */
void complete_words(const Cmd *root, const Option *globals, const char *const *words, size_t count,
		    Strv *out_lines);
