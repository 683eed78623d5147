/*
 * Errors: what went wrong, what we were doing, and what the user can type next.
 *
 * A failing function returns -1 and, through its last parameter `Error **err`, one Error made at
 * the leaf. Callers add context with error_wrap() on the way up; main() prints it once. Rules:
 *  - the return value and the Error always agree; never look at *err to learn whether a call
 * failed;
 *  - success leaves *err alone; outputs are written on success only;
 *  - `err` may be NULL: the failure is then only in the return value;
 *  - messages are one lower-case phrase without a full stop, what the user typed in single quotes;
 *  - a hint is something the user can type; the first hint wins, since the leaf knows best.
 *
 * docs/errors.md lists the codes; a test compares it with this table.
 */
#pragma once

#include <stdio.h>

#include "util/compiler.h"

typedef enum ErrorCode {
	ERR_FAILED,	  /* exit 1 */
	ERR_USAGE,	  /* exit 2 */
	ERR_NOT_FOUND,	  /* exit 3 */
	ERR_EXISTS,	  /* exit 4 */
	ERR_STATE,	  /* exit 4 */
	ERR_BUSY,	  /* exit 4 */
	ERR_DENIED,	  /* exit 5 */
	ERR_UNSUPPORTED,  /* exit 6 */
	ERR_MISSING_TOOL, /* exit 7 */
	ERR_TIMEOUT,	  /* exit 8 */
	ERR_CANCELED,	  /* exit 130 */
	ERR_CODES
} ErrorCode;

typedef struct Error Error;

/* Create *err and return -1. *err must be empty. */
int error_set(Error **err, ErrorCode code, const char *fmt, ...) PRINTF(3, 4);
/* The same from an errno: its text is appended, and EACCES/EPERM become ERR_DENIED, ENOENT
 * ERR_NOT_FOUND, EEXIST ERR_EXISTS, ENOSPC/EDQUOT ERR_FAILED with a hint to free space, everything
 * else ERR_FAILED. */
int error_set_errno(Error **err, int errnum, const char *fmt, ...) PRINTF(3, 4);
/* Add what the caller was doing; return -1. */
int error_wrap(Error **err, const char *fmt, ...) PRINTF(2, 3);
/* Add what the user can type; the first hint wins; return -1. */
int error_hint(Error **err, const char *fmt, ...) PRINTF(2, 3);
/* Replace the hint, when the caller knows better than the leaf; return -1. */
int error_set_hint(Error **err, const char *fmt, ...) PRINTF(2, 3);
/* Add several lines of evidence (the tail of a program's stderr); return -1. */
int error_detail(Error **err, const char *text);
/* Change the code of a pending error when the caller knows better; return -1. */
int error_recode(Error **err, ErrorCode code);

/* That they return -1 is visible to the compiler and to analysers in every file, not only in error.c:
 * they then know that what comes after a failure does not run. */
static inline int error_minus_one(int result)
{
	(void)result;
	return -1;
}
#define error_set(...)	     error_minus_one(error_set(__VA_ARGS__))
#define error_set_errno(...) error_minus_one(error_set_errno(__VA_ARGS__))
#define error_wrap(...)	     error_minus_one(error_wrap(__VA_ARGS__))
#define error_hint(...)	     error_minus_one(error_hint(__VA_ARGS__))
#define error_detail(...)    error_minus_one(error_detail(__VA_ARGS__))
#define error_recode(...)    error_minus_one(error_recode(__VA_ARGS__))

ErrorCode error_code(const Error *err);
const char *error_text(const Error *err);
const char *error_hint_text(const Error *err);	 /* NULL: none */
const char *error_detail_text(const Error *err); /* NULL: none */
size_t error_context_count(const Error *err);
/* Outermost first: index 0 is what the user asked for. */
const char *error_context(const Error *err, size_t index);

/* "start vm 'web': create tap: Operation not permitted", owned by the caller. */
char *error_sentence(const Error *err);

/* The word used in JSON ("not_found") and the exit status. */
const char *error_code_word(ErrorCode code);
int error_exit_status(ErrorCode code);
/* The reverse, for errors that arrive from a helper process; unknown words are ERR_FAILED. */
ErrorCode error_code_from_word(const char *word);

/* Move a pending error: *from is left empty. */
void error_move(Error **to, Error **from);
void error_free(Error *err);
void error_clear(Error **err);

static inline void cleanup_error_ptr(Error **err)
{
	error_free(*err);
}
#define auto_error CLEANUP(cleanup_error_ptr) Error *
