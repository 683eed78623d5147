#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>

#include "util/cancel.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"
#include "util/process.h"
#include "util/spawn.h"

#define STDERR_TAIL_MAX	   8192
#define OUTPUT_DEFAULT_MAX (4U << 20)
/* How long a program may take to go away after SIGTERM before it is killed. */
#define TERMINATE_GRACE_MS 2000
/* How long the programs that it started may take to go after they were killed. */
#define GROUP_GRACE_MS 200

void command_init(Command *cmd, const char *program, ...)
{
	va_list args;
	const char *word;

	*cmd = (Command){ .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .pass_fd = -1 };
	strv_push(&cmd->argv, program);
	va_start(args, program);
	while ((word = va_arg(args, const char *)))
		strv_push(&cmd->argv, word);
	va_end(args);
}

int command_init_tool(Command *cmd, const char *program, Error **err)
{
	auto_free char *found = program_find(program);
	auto_free char *hint = NULL;

	if (!found) {
		hint = program_install_hint(program);
		error_set(err, ERR_MISSING_TOOL, "'%s' is not installed", program);
		return error_hint(err, "%s", hint);
	}
	command_init(cmd, program, NULL);
	cmd->is_tied = true;
	return 0;
}

void command_add(Command *cmd, const char *word)
{
	strv_push(&cmd->argv, word);
}

void command_addf(Command *cmd, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	strv_push_take(&cmd->argv, xvasprintf(fmt, args));
	va_end(args);
}

void command_add_env(Command *cmd, const char *name, const char *value)
{
	strv_pushf(&cmd->env, "%s=%s", name, value);
}

char *command_text(const Command *cmd)
{
	return strv_join(&cmd->argv, " ");
}

void command_release(Command *cmd)
{
	strv_release(&cmd->argv);
	strv_release(&cmd->env);
	strbuf_release(&cmd->output);
}

int command_spawn(Command *cmd, pid_t *out_pid, Error **err)
{
	return spawn_command(cmd, cmd->stdout_fd, cmd->stderr_fd, false, out_pid, err);
}

/* What a running command is being watched with. */
typedef struct Watch {
	Command *cmd;
	pid_t pid;
	int process_fd;
	int out_fd; /* read ends; -1 when not captured or at their end */
	int err_fd;
	Strbuf line;
	Strbuf tail; /* of stderr */
} Watch;

static void watch_release(Watch *w)
{
	close_fd(&w->process_fd);
	close_fd(&w->out_fd);
	close_fd(&w->err_fd);
	strbuf_release(&w->line);
	strbuf_release(&w->tail);
}

static void emit_lines(Watch *w, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] != '\n') {
			strbuf_addc(&w->line, data[i]);
			continue;
		}
		w->cmd->on_line(strbuf_str(&w->line), w->cmd->on_line_arg);
		strbuf_clear(&w->line);
	}
}

/* Keep the last STDERR_TAIL_MAX bytes: programs say what killed them last. */
static void keep_tail(Strbuf *tail, const char *data, size_t len)
{
	strbuf_add(tail, data, len);
	if (tail->len > STDERR_TAIL_MAX) {
		size_t cut = tail->len - STDERR_TAIL_MAX;

		memmove(tail->text, tail->text + cut, tail->len - cut + 1);
		tail->len -= cut;
	}
}

static void read_some(Watch *w, int *fd, bool is_stderr)
{
	char data[16384];
	ssize_t got = read(*fd, data, sizeof(data));

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (got > 0 && (is_stderr || w->cmd->join_stderr))
		keep_tail(&w->tail, data, (size_t)got);
	if (got <= 0)
		close_fd(fd);
	else if (is_stderr)
		return;
	else if (w->cmd->on_line)
		emit_lines(w, data, (size_t)got);
	else
		strbuf_add(&w->cmd->output, data, (size_t)got);
}

/* End the program and what it started. Its own exit is not reaped yet, so the group is still ours. */
static void terminate(const Watch *w)
{
	struct pollfd gone = { .fd = w->process_fd, .events = POLLIN };

	(void)kill(-w->pid, SIGTERM);
	(void)poll(&gone, 1, TERMINATE_GRACE_MS);
	(void)kill(-w->pid, SIGKILL);
}

/* A killed grandchild may be writing for a moment longer, where the caller is about to clean up. */
static void wait_for_group(pid_t group)
{
	Deadline until = deadline_in_ms(GROUP_GRACE_MS);

	while (kill(-group, 0) == 0 && !deadline_passed(until))
		(void)usleep(1000);
}

/* The program had its time, or somebody wants it to end: -1, and it has ended. */
static int look_around(Watch *w, Deadline until, Deadline *tick, Error **err)
{
	Command *cmd = w->cmd;

	if (cancel_requested() && !cmd->is_undo) {
		terminate(w);
		return cancel_check(err);
	}
	if (deadline_passed(until)) {
		terminate(w);
		error_set(err, ERR_TIMEOUT, "'%s' took too long and was stopped",
			  cmd->argv.items[0]);
		return error_hint(err, "see whether it hangs: %s", cmd->argv.items[0]);
	}
	if (!cmd->on_tick || !deadline_passed(*tick))
		return 0;
	*tick = deadline_in_ms(COMMAND_TICK_MS);
	if (cmd->on_tick(w->pid, cmd->on_tick_arg, err) == 0)
		return 0;
	terminate(w);
	return -1;
}

/* Read until the program has ended and its pipes are drained. A grandchild that keeps the pipes
 * open is not waited for: once the program itself is gone, what is there is read and that is all.
 */
static int watch_run(Watch *w, Deadline until, Error **err)
{
	Deadline tick = w->cmd->on_tick ? deadline_in_ms(COMMAND_TICK_MS) : DEADLINE_NEVER;
	bool gone = false;

	while (!gone) {
		struct pollfd events[] = {
			{ .fd = w->process_fd, .events = POLLIN },
			{ .fd = w->out_fd, .events = POLLIN },
			{ .fd = w->err_fd, .events = POLLIN },
		};
		Deadline next = until.at_ns < tick.at_ns ? until : tick;
		int ready = poll(events, ARRAY_SIZE(events), deadline_poll_ms(next));

		if (look_around(w, until, &tick, err) < 0)
			return -1;
		if (ready <= 0)
			continue;
		gone = events[0].revents != 0;
		if (events[1].revents)
			read_some(w, &w->out_fd, false);
		if (events[2].revents)
			read_some(w, &w->err_fd, true);
	}
	for (int i = 0; i < 2; i++) {
		int *fd = i ? &w->err_fd : &w->out_fd;

		if (*fd >= 0)
			(void)fcntl(*fd, F_SETFL, O_NONBLOCK);
		while (*fd >= 0) {
			struct pollfd more = { .fd = *fd, .events = POLLIN };

			if (poll(&more, 1, 0) <= 0)
				break;
			read_some(w, fd, i == 1);
		}
	}
	if (w->line.len && w->cmd->on_line)
		w->cmd->on_line(strbuf_str(&w->line), w->cmd->on_line_arg);
	return 0;
}

static int open_pipe(bool wanted, int *out_read, int *out_write, Error **err)
{
	int ends[2];

	if (!wanted)
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "make a pipe");
	*out_read = ends[0];
	*out_write = ends[1];
	return 0;
}

static int run_watched(Watch *w, Deadline until, int *out_status, Error **err)
{
	auto_fd out_write = -1;
	auto_fd err_write = -1;
	Command *cmd = w->cmd;
	int out_fd, err_fd, raw = 0, result;

	if (open_pipe(cmd->stdout_fd < 0 && (cmd->capture || cmd->on_line), &w->out_fd, &out_write,
		      err) < 0 ||
	    open_pipe(cmd->stderr_fd < 0 && !cmd->join_stderr, &w->err_fd, &err_write, err) < 0)
		return -1;
	out_fd = cmd->stdout_fd >= 0 ? cmd->stdout_fd : out_write;
	err_fd = cmd->stderr_fd >= 0 ? cmd->stderr_fd : err_write;
	if (spawn_command(cmd, out_fd, cmd->join_stderr ? out_fd : err_fd, true, &w->pid, err) < 0)
		return -1;
	close_fd(&out_write);
	close_fd(&err_write);
	w->process_fd = os_process_fd(w->pid);
	result = watch_run(w, until, err);
	while (waitpid(w->pid, &raw, 0) < 0 && errno == EINTR)
		continue;
	*out_status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
	if (result < 0) {
		wait_for_group(w->pid);
		error_detail(err, strbuf_str(&w->tail));
	}
	return result;
}

int command_run(Command *cmd, Deadline until, Error **err)
{
	CLEANUP(watch_release)
	Watch w = { .cmd = cmd, .process_fd = -1, .out_fd = -1, .err_fd = -1 };
	auto_free char *text = NULL;
	int status;

	cmd->output.max = cmd->output_max ? cmd->output_max : OUTPUT_DEFAULT_MAX;
	if (run_watched(&w, until, &status, err) < 0)
		return -1;
	if (status == 0)
		return 0;
	text = command_text(cmd);
	if (status > 128)
		error_set(err, ERR_FAILED, "'%s' was killed by signal %d", text, status - 128);
	else
		error_set(err, ERR_FAILED, "'%s' failed with exit status %d", text, status);
	error_detail(err, strbuf_str(&w.tail));
	return -1;
}

int command_run_writer(Command *cmd, Deadline until, const char *what, Error **err)
{
	auto_error cause = NULL;
	const char *said;

	command_add_env(cmd, "LC_ALL", "C");
	if (command_run(cmd, until, &cause) == 0)
		return 0;
	said = error_detail_text(cause);
	if (said && strstr(said, strerror(ENOSPC)))
		return error_set_errno(err, ENOSPC, "%s", what);
	error_move(err, &cause);
	return -1;
}
