#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* read(2) until `size` bytes or the end. */
static ssize_t read_all(int fd, char *buffer, size_t size)
{
	size_t have = 0;

	while (have < size) {
		ssize_t got = read(fd, buffer + have, size - have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

ssize_t read_text(const char *path, char *buffer, size_t size)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return -1;
	length = read_all(fd, buffer, size - 1);
	if (length < 0)
		return -1;
	if (length > 0 && buffer[length - 1] == '\n')
		length--;
	buffer[length] = '\0';
	return length;
}

char *read_file(const char *path, size_t max)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	ssize_t length;
	char *text;

	if (fd < 0 || fstat(fd, &status) < 0)
		return NULL;
	if ((uint64_t)status.st_size > max) {
		errno = EFBIG;
		return NULL;
	}
	text = malloc((size_t)status.st_size + 1);
	if (!text)
		return NULL;
	length = read_all(fd, text, (size_t)status.st_size);
	if (length < 0) {
		free(text);
		return NULL;
	}
	text[length] = '\0';
	return text;
}

int write_all(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t done = write(fd, at, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -1;
		at += done;
		size -= (size_t)done;
	}
	return 0;
}

int replace_file(const char *path, const char *text, unsigned mode)
{
	char aside[4096];
	auto_fd fd = -1;

	if ((size_t)snprintf(aside, sizeof(aside), "%s.ember-new", path) >= sizeof(aside)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	(void)unlink(aside);
	fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (write_all(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0 ||
	    rename(aside, path) < 0) {
		int saved = errno;

		(void)unlink(aside);
		errno = saved;
		return -1;
	}
	return 0;
}

void become_init(char *path)
{
	char home[] = "HOME=/", terminal[] = "TERM=linux";
	char *arguments[] = { path, NULL }, *environment[] = { home, terminal, NULL };

	(void)execve(path, arguments, environment);
}

void complain(const char *fmt, ...)
{
	char line[512];
	va_list args;
	int prefix, length;
	auto_fd console = -1;

	prefix = snprintf(line, sizeof(line), "%s: ", program_name);
	if (prefix < 0 || (size_t)prefix >= sizeof(line) - 2)
		return;
	va_start(args, fmt);
	length = vsnprintf(line + prefix, sizeof(line) - (size_t)prefix - 1, fmt, args);
	va_end(args);
	if (length < 0)
		return;
	length = (int)strnlen(line, sizeof(line) - 2);
	line[length] = '\n';

	/* Not stderr: the agent has none, and init's may be anything. */
	console = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	(void)write_all(console >= 0 ? console : STDERR_FILENO, line, (size_t)length + 1);
}
