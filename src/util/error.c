#include "util/error.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "util/mem.h"

/* Deeper nesting than this is a bug of ours; further context is dropped. */
#define CONTEXT_MAX 8

struct Error {
	ErrorCode code;
	char *message;
	char *hint;
	char *detail;
	char *context[CONTEXT_MAX]; /* innermost first, as it is added */
	size_t context_count;
};

static const struct {
	const char *word;
	int exit_status;
} codes[ERR_CODES] = {
	[ERR_FAILED] = { "failed", 1 },
	[ERR_USAGE] = { "usage", 2 },
	[ERR_NOT_FOUND] = { "not_found", 3 },
	[ERR_EXISTS] = { "exists", 4 },
	[ERR_STATE] = { "state", 4 },
	[ERR_BUSY] = { "busy", 4 },
	[ERR_DENIED] = { "denied", 5 },
	[ERR_UNSUPPORTED] = { "unsupported", 6 },
	[ERR_MISSING_TOOL] = { "missing_tool", 7 },
	[ERR_TIMEOUT] = { "timeout", 8 },
	[ERR_CANCELED] = { "canceled", 130 },
};

static int create(Error **err, ErrorCode code, char *message)
{
	if (!err) {
		free(message);
		return -1;
	}
	assert(!*err);
	*err = xcalloc(1, sizeof(**err));
	(*err)->code = code;
	(*err)->message = message;
	return -1;
}

int(error_set)(Error **err, ErrorCode code, const char *fmt, ...)
{
	va_list args;
	char *message;

	va_start(args, fmt);
	message = xvasprintf(fmt, args);
	va_end(args);
	return create(err, code, message);
}

static ErrorCode code_of_errno(int errnum)
{
	switch (errnum) {
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	case ENOENT:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case EOPNOTSUPP:
		return ERR_UNSUPPORTED;
	default:
		return ERR_FAILED;
	}
}

int(error_set_errno)(Error **err, int errnum, const char *fmt, ...)
{
	auto_free char *what = NULL;
	va_list args;

	va_start(args, fmt);
	what = xvasprintf(fmt, args);
	va_end(args);
	create(err, code_of_errno(errnum), xasprintf("%s: %s", what, strerror(errnum)));
	if (errnum == ENOSPC || errnum == EDQUOT)
		error_hint(err, "free some space and try again: df -h shows what is full");
	return -1;
}

int(error_wrap)(Error **err, const char *fmt, ...)
{
	va_list args;

	if (!err || !*err || (*err)->context_count == CONTEXT_MAX)
		return -1;
	va_start(args, fmt);
	(*err)->context[(*err)->context_count++] = xvasprintf(fmt, args);
	va_end(args);
	return -1;
}

int(error_hint)(Error **err, const char *fmt, ...)
{
	va_list args;

	if (!err || !*err || (*err)->hint)
		return -1;
	va_start(args, fmt);
	(*err)->hint = xvasprintf(fmt, args);
	va_end(args);
	return -1;
}

int error_set_hint(Error **err, const char *fmt, ...)
{
	va_list args;

	if (!err || !*err)
		return -1;
	free((*err)->hint);
	va_start(args, fmt);
	(*err)->hint = xvasprintf(fmt, args);
	va_end(args);
	return -1;
}

int(error_detail)(Error **err, const char *text)
{
	if (err && *err && !(*err)->detail && text && *text)
		(*err)->detail = xstrdup(text);
	return -1;
}

int(error_recode)(Error **err, ErrorCode code)
{
	if (err && *err)
		(*err)->code = code;
	return -1;
}

ErrorCode error_code(const Error *err)
{
	return err ? err->code : ERR_FAILED;
}

const char *error_text(const Error *err)
{
	return err ? err->message : "unknown failure";
}

const char *error_hint_text(const Error *err)
{
	return err ? err->hint : NULL;
}

const char *error_detail_text(const Error *err)
{
	return err ? err->detail : NULL;
}

size_t error_context_count(const Error *err)
{
	return err ? err->context_count : 0;
}

const char *error_context(const Error *err, size_t index)
{
	assert(index < err->context_count);
	return err->context[err->context_count - 1 - index];
}

char *error_sentence(const Error *err)
{
	char *text = xstrdup(error_text(err));

	for (size_t i = error_context_count(err); i-- > 0;) {
		char *longer = xasprintf("%s: %s", error_context(err, i), text);

		free(text);
		text = longer;
	}
	return text;
}

const char *error_code_word(ErrorCode code)
{
	return codes[code].word;
}

int error_exit_status(ErrorCode code)
{
	return codes[code].exit_status;
}

ErrorCode error_code_from_word(const char *word)
{
	for (int i = 0; i < ERR_CODES; i++)
		if (word && !strcmp(word, codes[i].word))
			return (ErrorCode)i;
	return ERR_FAILED;
}

void error_move(Error **to, Error **from)
{
	if (to) {
		assert(!*to);
		*to = steal(from);
	} else {
		error_clear(from);
	}
}

void error_free(Error *err)
{
	if (!err)
		return;
	for (size_t i = 0; i < err->context_count; i++)
		free(err->context[i]);
	free(err->message);
	free(err->hint);
	free(err->detail);
	free(err);
}

void error_clear(Error **err)
{
	error_free(*err);
	*err = NULL;
}
