#include "agent/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "util/cancel.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/os.h"
#include "util/str.h"

/* What the keeper answers is small; the tail of a log is the largest part. */
#define ANSWER_MAX 65536
/* A keeper whose start failed has cleaned up within this. */
#define LEAVE_MS 5000

/* What came over the pipe so far. */
typedef struct Answer {
	Strbuf text; /* the line under way */
	KeeperIds ids;
	bool is_ready;
	Error *failure;
} Answer;

static void answer_release(Answer *answer)
{
	strbuf_release(&answer->text);
	error_free(answer->failure);
}

static int read_process(const json_t *doc, const char *key, ProcId *out_id, Error **err)
{
	const json_t *process;
	uint64_t pid;

	if (json_get_object_opt(doc, key, &process, err) < 0 || !process)
		return 0;
	if (json_get_u64(process, "pid", INT_MAX, &pid, err) < 0 ||
	    json_get_u64(process, "started", INT64_MAX, &out_id->started, err) < 0)
		return -1;
	out_id->pid = (pid_t)pid;
	return 0;
}

/* The keeper's Error comes to life again here. */
static int read_failure(const json_t *doc, Error **out_failure, Error **err)
{
	const json_t *error;
	auto_free char *code = NULL;
	auto_free char *message = NULL;
	auto_free char *hint = NULL;
	auto_free char *detail = NULL;

	if (json_get_object_opt(doc, "error", &error, err) < 0)
		return -1;
	if (!error)
		return 0;
	if (json_get_string(error, "code", &code, err) < 0 ||
	    json_get_string(error, "message", &message, err) < 0 ||
	    json_get_string_opt(error, "hint", &hint, err) < 0 ||
	    json_get_string_opt(error, "detail", &detail, err) < 0)
		return -1;
	error_set(out_failure, error_code_from_word(code), "%s", message);
	if (hint)
		error_hint(out_failure, "%s", hint);
	error_detail(out_failure, detail);
	return 0;
}

static int take_line(Answer *answer, Error **err)
{
	json_auto_t *doc = NULL;

	if (json_parse_text(strbuf_str(&answer->text), answer->text.len, &doc, err) < 0 ||
	    read_process(doc, "hypervisor", &answer->ids.hypervisor, err) < 0 ||
	    read_process(doc, "keeper", &answer->ids.keeper, err) < 0 ||
	    json_get_bool_opt(doc, "ready", &answer->is_ready, err) < 0 ||
	    (!answer->failure && read_failure(doc, &answer->failure, err) < 0))
		return error_wrap(err, "read the keeper's answer");
	strbuf_clear(&answer->text);
	return 0;
}

static int take_bytes(Answer *answer, const char *bytes, size_t len, Error **err)
{
	answer->text.max = ANSWER_MAX;
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != '\n')
			strbuf_addc(&answer->text, bytes[i]);
		else if (take_line(answer, err) < 0)
			return -1;
	}
	return 0;
}

static int wait_for_answer(int fd, Deadline until, Answer *answer, Error **err)
{
	while (!answer->is_ready && !answer->failure) {
		struct pollfd event = { .fd = fd, .events = POLLIN };
		char bytes[1024];
		ssize_t got;
		int ready = poll(&event, 1, deadline_poll_ms(until));

		if (cancel_check(err) < 0)
			return -1;
		if (ready == 0) {
			error_set(err, ERR_TIMEOUT, "the hypervisor did not start in time");
			return error_hint(err, "see whether this machine is overloaded: uptime");
		}
		got = ready < 0 ? -1 : read(fd, bytes, sizeof(bytes));
		if (got < 0 && errno != EINTR)
			return error_set_errno(err, errno, "listen to the keeper");
		if (got == 0) {
			error_set(err, ERR_FAILED, "the keeper died before the vm ran");
			return error_hint(err, "look at what it logged: keeper.log in the VM's "
					       "directory");
		}
		if (got > 0 && take_bytes(answer, bytes, (size_t)got, err) < 0)
			return -1;
	}
	if (answer->is_ready)
		return 0;
	error_move(err, &answer->failure);
	return -1;
}

static int spawn_keeper(const char *program, const char *plan_path, const ProcId *adopt,
			int write_fd, pid_t *out_pid, Error **err)
{
	auto_command Command cmd = { 0 };

	command_init(&cmd, program, "--plan", plan_path, "--ready-fd", "3", NULL);
	if (adopt) {
		command_add(&cmd, "--adopt");
		command_addf(&cmd, "%d:%llu", (int)adopt->pid, (unsigned long long)adopt->started);
	}
	cmd.pass_fd = write_fd;
	cmd.new_session = true;
	return command_spawn(&cmd, out_pid, err);
}

/* The start failed. Seeing the pipe closed, the keeper cleans up and leaves; one that was killed
 * cannot, and one that hangs must not: nothing of a VM that it started may stay. */
static void undo(pid_t keeper, const Answer *answer, bool is_adopted)
{
	auto_fd keeper_fd = os_process_fd(keeper);
	Deadline until = deadline_in_ms(LEAVE_MS);
	struct pollfd gone = { .fd = keeper_fd, .events = POLLIN };

	/* No cancel_check(): whoever interrupted us wants this to be put away too. */
	while (poll(&gone, 1, deadline_poll_ms(until)) < 0 && errno == EINTR)
		continue;
	if (!gone.revents && !is_adopted)
		(void)os_process_signal(keeper_fd, SIGKILL);
	if (!is_adopted)
		(void)proc_signal(&answer->ids.hypervisor, SIGKILL, NULL);
	(void)waitpid(keeper, NULL, WNOHANG);
}

int keeper_start(const char *program, const char *plan_path, const ProcId *adopt, Deadline until,
		 KeeperIds *out_ids, Error **err)
{
	CLEANUP(answer_release) Answer answer = { 0 };
	auto_fd read_fd = -1;
	auto_fd write_fd = -1;
	pid_t keeper;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "make a pipe");
	read_fd = ends[0];
	write_fd = ends[1];
	if (spawn_keeper(program, plan_path, adopt, write_fd, &keeper, err) < 0)
		return -1;
	close_fd(&write_fd); /* so that its end is seen */
	if (wait_for_answer(read_fd, until, &answer, err) < 0) {
		close_fd(&read_fd); /* so that it sees ours */
		undo(keeper, &answer, adopt != NULL);
		return -1;
	}
	*out_ids = answer.ids;
	return 0;
}
