/*
 * Memory and ownership.
 *
 * Out of memory ends the process: everything on disk is whole at every instruction, so an abort is
 * no worse than a crash, and reconcile handles crashes. Owners are declared with an `auto_`
 * attribute on the line that initialises them; ownership leaves a scope only through steal() or
 * steal_fd().
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/compiler.h"

void *xmalloc(size_t size) MUST_USE;
void *xcalloc(size_t count, size_t size) MUST_USE;
/* Grow an array of `count` elements of `size` bytes; overflow ends the process. */
void *xreallocarray(void *ptr, size_t count, size_t size) MUST_USE;
char *xstrdup(const char *text) MUST_USE;
char *xstrndup(const char *text, size_t max) MUST_USE;
/* NULL stays NULL. */
char *xstrdup_null(const char *text) MUST_USE;
char *xasprintf(const char *fmt, ...) PRINTF(1, 2) MUST_USE;
char *xvasprintf(const char *fmt, va_list args) PRINTF(1, 0) MUST_USE;

/* Replace an owned string by a copy of `text` (which may be NULL or part of the old one). */
void str_assign(char **owned, const char *text);

static inline void cleanup_free_ptr(void *pp)
{
	free(*(void **)pp);
}

static inline void cleanup_fd_ptr(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void cleanup_file_ptr(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

#define auto_free CLEANUP(cleanup_free_ptr)
#define auto_fd	  CLEANUP(cleanup_fd_ptr) int
#define auto_file CLEANUP(cleanup_file_ptr)

/* Hand over the value of an owning variable and leave it empty. */
#define steal(pp)                             \
	__extension__({                       \
		__typeof__(*(pp)) v_ = *(pp); \
		*(pp) = NULL;                 \
		v_;                           \
	})

static inline int steal_fd(int *fd)
{
	int value = *fd;

	*fd = -1;
	return value;
}

/* Close an fd that is -1 when empty, and mark it empty. */
static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}
