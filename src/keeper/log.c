#include "keeper/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "util/mem.h"

#define LINES_MAX 5000

static int lines; /* the log is the process's one stderr, and so is its bound */

void log_line(const char *fmt, ...)
{
	struct timespec now;
	struct tm parts;
	char stamp[32];
	va_list args;

	if (lines == LINES_MAX)
		return;
	lines++;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &parts);
	(void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &parts);
	(void)fprintf(stderr, "%s.%03ldZ ", stamp, now.tv_nsec / 1000000);
	va_start(args, fmt);
	(void)vfprintf(stderr, fmt, args);
	va_end(args);
	(void)fputs(lines == LINES_MAX ? "\n(no more lines from this keeper)\n" : "\n", stderr);
}

void log_error(Error **err, const char *what)
{
	auto_free char *sentence = error_sentence(*err);

	log_line("%s: %s", what, sentence);
	error_clear(err);
}
