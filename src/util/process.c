#include "util/process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "util/cancel.h"
#include "util/mem.h"
#include "util/os.h"

#define END_PATIENCE_MS 300

int proc_identify(pid_t pid, ProcId *out_id, Error **err)
{
	uint64_t started;

	if (os_process_start_time(pid, &started) < 0) {
		error_set(err, ERR_NOT_FOUND, "process %d has gone", (int)pid);
		return error_hint(err, "mend the records: ember reconcile");
	}
	*out_id = (ProcId){ .pid = pid, .started = started };
	return 0;
}

bool proc_is_alive(const ProcId *id)
{
	uint64_t started;

	return id->pid > 0 && os_process_start_time(id->pid, &started) == 0 &&
	       started == id->started;
}

int proc_signal(const ProcId *id, int signum, Error **err)
{
	auto_fd fd = id->pid > 0 ? os_process_fd(id->pid) : -1;

	/* The fd pins the process, so that the check and the signal speak of the same one. */
	if (fd < 0 || !proc_is_alive(id))
		return 0;
	if (os_process_signal(fd, signum) < 0 && errno != ESRCH)
		return error_set_errno(err, errno, "signal process %d", (int)id->pid);
	return 0;
}

static bool ends_by_itself(pid_t pid)
{
	auto_fd process = os_process_fd(pid);
	struct pollfd event = { .fd = process, .events = POLLIN };

	return poll(&event, 1, END_PATIENCE_MS) > 0;
}

int proc_end(ProcEnd *end)
{
	int status = 0;

	end->out_was_ended = end->signum && !ends_by_itself(end->pid);
	if (end->out_was_ended)
		(void)kill(end->is_leader ? -end->pid : end->pid, end->signum);
	while (waitpid(end->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return status;
}

int proc_wait_gone(const ProcId *id, Deadline until, Error **err)
{
	auto_fd fd = id->pid > 0 ? os_process_fd(id->pid) : -1;

	if (fd < 0 || !proc_is_alive(id))
		return 1;
	for (;;) {
		struct pollfd event = { .fd = fd, .events = POLLIN };
		int ready = poll(&event, 1, deadline_poll_ms(until));

		if (cancel_check(err) < 0)
			return -1;
		if (ready > 0)
			return 1;
		if (ready == 0)
			return 0;
		if (errno != EINTR)
			return error_set_errno(err, errno, "wait for process %d", (int)id->pid);
	}
}
