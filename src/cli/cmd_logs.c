/*
 * ember vm logs: the console log of a VM, from its last lines on, for as long as the VM runs.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/plain.h"
#include "ops/vm.h"
#include "util/cancel.h"
#include "util/mem.h"
#include "util/os.h"

#define CHUNK 65536

typedef struct Log {
	int fd;
	off_t at;
	bool is_filtered; /* a person is looking */
	PlainState state;
} Log;

/* Where the last `lines` lines begin. A last line without its end counts as one. */
static int find_tail(int fd, int64_t lines, off_t *out_at, Error **err)
{
	auto_free char *chunk = xmalloc(CHUNK);
	off_t end = lseek(fd, 0, SEEK_END), at = end;
	int64_t ends = 0; /* line ends seen, but not the one that ends the file */

	while (at > 0 && lines > 0) {
		off_t from = at > CHUNK ? at - CHUNK : 0;
		ssize_t got = pread(fd, chunk, (size_t)(at - from), from);

		if (got < at - from)
			return error_set_errno(err, got < 0 ? errno : EIO, "read the console log");
		for (; at > from; at--) {
			if (chunk[at - from - 1] != '\n' || at == end)
				continue;
			if (++ends == lines) {
				*out_at = at;
				return 0;
			}
		}
	}
	*out_at = lines > 0 ? 0 : end;
	return 0;
}

/* Whether stdout took it is seen at the end of every command; here it only ends the copying. */
static bool show(Log *log, const char *data, size_t len)
{
	if (log->is_filtered) {
		auto_strbuf Strbuf text = { 0 };

		plain_filter(&log->state, data, len, &text);
		(void)fwrite(strbuf_str(&text), 1, text.len, stdout);
	} else {
		(void)fwrite(data, 1, len, stdout);
	}
	return fflush(stdout) == 0;
}

/* Show all that is there: 1, or 0 when nobody reads it any more. */
static int drain(Log *log, Error **err)
{
	auto_free char *chunk = xmalloc(CHUNK);
	off_t end = lseek(log->fd, 0, SEEK_END);

	if (end < log->at)
		log->at = 0; /* it was begun anew */
	for (;;) {
		ssize_t got = pread(log->fd, chunk, CHUNK, log->at);

		if (got < 0 && errno != EINTR)
			return error_set_errno(err, errno, "read the console log");
		if (cancel_check(err) < 0)
			return -1;
		if (got == 0)
			return 1;
		if (got > 0 && !show(log, chunk, (size_t)got))
			return 0;
		log->at += got > 0 ? got : 0;
	}
}

/* Until the process behind `process_fd` has gone. */
static int follow(Log *log, int process_fd, Error **err)
{
	auto_fd watch = os_watch_file(log->fd);
	struct pollfd fds[] = { { .fd = watch, .events = POLLIN },
				{ .fd = process_fd, .events = POLLIN },
				/* The reader's end may go away while the log is silent. */
				{ .fd = STDOUT_FILENO, .events = 0 } };

	if (watch < 0)
		return error_set_errno(err, errno, "watch the console log");
	for (;;) {
		int more = drain(log, err);

		if (more <= 0)
			return more;
		if (fds[1].revents || (fds[2].revents & POLLERR))
			return 0;
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return error_set_errno(err, errno, "wait for the console log");
		if (fds[0].revents)
			os_watch_clear(watch);
		if (cancel_check(err) < 0)
			return -1;
	}
}

int cmd_vm_logs(App *app, const Args *args, Error **err)
{
	const LogsArgs *opt = args->options;
	const char *name = args->words[0];
	auto_vm Vm vm = { 0 };
	auto_fd fd = -1;
	auto_fd process_fd = -1;
	Log log = { .is_filtered = isatty(STDOUT_FILENO) };

	if (ops_vm_open_log(&app->ctx, name, &fd, err) < 0)
		return -1;
	log.fd = fd;
	if (opt->tail >= 0 && find_tail(fd, opt->tail, &log.at, err) < 0)
		return -1;
	if (opt->follow) {
		if (ops_vm_inspect(&app->ctx, name, &vm, err) < 0)
			return -1;
		if (vm_state_is_live(vm.state))
			process_fd = os_process_fd(vm.process.pid);
	}
	if (process_fd < 0 || !proc_is_alive(&vm.process))
		return drain(&log, err) < 0 ? -1 : 0;
	return follow(&log, process_fd, err);
}
