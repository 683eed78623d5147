/*
 * What a guest wrote, made safe for a terminal: escape sequences and control bytes are taken out,
 * carriage returns become line ends. A filter with a memory, since sequences may be split.
 */
#pragma once

#include <stddef.h>

#include "util/str.h"

typedef enum PlainState {
	PLAIN_TEXT,
	PLAIN_RETURN,	  /* after CR: a line feed may follow */
	PLAIN_ESCAPE,	  /* after ESC */
	PLAIN_CONTROL,	  /* in ESC [ ..., up to its final byte */
	PLAIN_STRING,	  /* in an operating system command and the like, up to BEL or ESC \ */
	PLAIN_STRING_END, /* after ESC in one */
	PLAIN_C1,	  /* after the first byte of a C1 control in UTF-8 */
} PlainState;

/* Append what may be shown of `data` to `out`. *state is PLAIN_TEXT at first. */
void plain_filter(PlainState *state, const char *data, size_t len, Strbuf *out);
