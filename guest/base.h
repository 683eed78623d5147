/*
 * The few helpers that every part of ember-guest and ember-boot needs. Only libc: these programs
 * are linked statically with musl and must run on a root that has nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

#define auto_fd __attribute__((cleanup(close_fd))) int

static inline int steal_fd(int *fd)
{
	int value = *fd;

	*fd = -1;
	return value;
}

/* Milliseconds of the monotonic clock, which is also the time since boot. */
uint64_t now_ms(void);

/*
 * Read at most `size` - 1 bytes of a small file (a sysfs attribute, /proc/cmdline) and end them
 * with a NUL; a final newline is dropped. Returns the length, or -1 with errno.
 */
ssize_t read_text(const char *path, char *buffer, size_t size);

/*
 * Read a whole file of at most `max` bytes. The result is NUL-terminated and owned by the caller;
 * NULL with errno (EFBIG when it is larger).
 */
char *read_file(const char *path, size_t max);

/* Write all of `size` bytes to a blocking fd. 0, or -1 with errno. */
int write_all(int fd, const void *bytes, size_t size);

/* Replace the file `path` whole (written beside it, then renamed). 0, or -1 with errno. */
int replace_file(const char *path, const char *text, unsigned mode);

/* Become the init program `path`, with an init's environment. Returns only on failure, with errno.
 */
void become_init(char *path);

/* Each program defines its own. */
extern const char program_name[];

/* One line on the console, prefixed with the program's name: for the person who debugs a boot. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
