#include "cli/plain.h"

#define ESC	 0x1b
#define BEL	 0x07
#define C1_FIRST 0xc2 /* U+0080..U+009F in UTF-8 begin with it */

static PlainState in_text(unsigned char c, Strbuf *out)
{
	switch (c) {
	case '\r':
		return PLAIN_RETURN;
	case ESC:
		return PLAIN_ESCAPE;
	case C1_FIRST:
		return PLAIN_C1;
	default:
		if (c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f))
			strbuf_addc(out, (char)c);
		return PLAIN_TEXT;
	}
}

/* ECMA-48 5.4: CSI is ESC [, strings begin with ESC P X ] ^ or _, others are short. */
static PlainState in_escape(unsigned char c)
{
	switch (c) {
	case '[':
		return PLAIN_CONTROL;
	case 'P':
	case 'X':
	case ']':
	case '^':
	case '_':
		return PLAIN_STRING;
	default:
		/* Intermediate bytes (ESC ( B) go on, any other ends it. */
		return c >= 0x20 && c <= 0x2f ? PLAIN_ESCAPE : PLAIN_TEXT;
	}
}

static PlainState in_string(unsigned char c)
{
	if (c == ESC)
		return PLAIN_STRING_END;
	/* A string that never ends must not swallow the log. */
	return c == BEL || c == '\n' ? PLAIN_TEXT : PLAIN_STRING;
}

static PlainState step(PlainState state, unsigned char c, Strbuf *out)
{
	switch (state) {
	case PLAIN_RETURN:
		strbuf_addc(out, '\n');
		return c == '\n' ? PLAIN_TEXT : in_text(c, out);
	case PLAIN_ESCAPE:
		return in_escape(c);
	case PLAIN_CONTROL:
		return c >= 0x40 && c <= 0x7e ? PLAIN_TEXT : c < 0x20 ? in_text(c, out) : state;
	case PLAIN_STRING:
		return in_string(c);
	case PLAIN_STRING_END:
		return c == '\\' ? PLAIN_TEXT : in_escape(c);
	case PLAIN_C1:
		if (c >= 0x80 && c <= 0x9f)
			return PLAIN_TEXT;
		strbuf_addc(out, (char)C1_FIRST);
		return in_text(c, out);
	case PLAIN_TEXT:
		break;
	}
	return in_text(c, out);
}

void plain_filter(PlainState *state, const char *data, size_t len, Strbuf *out)
{
	for (size_t i = 0; i < len; i++)
		*state = step(*state, (unsigned char)data[i], out);
}
