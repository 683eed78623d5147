#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/deadline.h"
#include "util/error.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/os.h"
#include "util/process.h"
#include "util/str.h"

static void test_error_chain(void)
{
	auto_error err = NULL;
	auto_free char *sentence = NULL;

	CHECK_INT(error_set_errno(&err, EPERM, "create tap '%s'", "em0"), -1);
	error_wrap(&err, "attach network");
	error_wrap(&err, "start vm '%s'", "web");
	error_hint(&err, "first");
	error_hint(&err, "second");
	sentence = error_sentence(err);
	CHECK_STR(sentence,
		  "start vm 'web': attach network: create tap 'em0': Operation not permitted");
	CHECK_STR(error_hint_text(err), "first");
	CHECK_STR(error_context(err, 0), "start vm 'web'");
	CHECK_INT(error_exit_status(error_code(err)), 5);
	CHECK_INT(error_code_from_word("busy"), ERR_BUSY);
}

static void test_error_null(void)
{
	CHECK_INT(error_set(NULL, ERR_FAILED, "ignored"), -1);
	CHECK_INT(error_wrap(NULL, "ignored"), -1);
}

static void test_strbuf_bound(void)
{
	auto_strbuf Strbuf sb = { .max = 5 };

	strbuf_adds(&sb, "abc");
	strbuf_addf(&sb, "%s", "defgh");
	CHECK_STR(strbuf_str(&sb), "abcde");
	CHECK(sb.truncated);
}

/* RFC 4648, section 10. */
static void test_base64(void)
{
	static const char *const want[] = { "",		"Zg==",	    "Zm8=",    "Zm9v",
					    "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" };

	for (size_t len = 0; len < ARRAY_SIZE(want); len++) {
		auto_strbuf Strbuf padded = { 0 };
		auto_strbuf Strbuf bare = { 0 };

		strbuf_add_base64(&padded, "foobar", len, true);
		strbuf_add_base64(&bare, "foobar", len, false);
		CHECK_STR(strbuf_str(&padded), want[len]);
		CHECK_INT(bare.len, strcspn(want[len], "="));
		CHECK(str_starts_with(want[len], strbuf_str(&bare)));
	}
}

static void test_parse_u64(void)
{
	uint64_t value = 7;

	CHECK(str_parse_u64("18446744073709551615", UINT64_MAX, &value));
	CHECK(value == UINT64_MAX);
	CHECK(!str_parse_u64("18446744073709551616", UINT64_MAX, &value));
	CHECK(!str_parse_u64("", 10, &value));
	CHECK(!str_parse_u64("-1", 10, &value));
	CHECK(!str_parse_u64("11", 10, &value));
	CHECK(!str_parse_u64("5", 4, &value));
	CHECK(str_parse_u64("10", 10, &value));
	CHECK(value == 10);
}

static void test_distance(void)
{
	const char *words[] = { "create", "start", "stop", "delete" };

	CHECK_INT(str_distance("crate", "create"), 1);
	CHECK_INT(str_distance("strat", "start"), 1);
	CHECK_INT(str_distance("", "abc"), 3);
	CHECK_STR(str_nearest("strat", words, 4), "start");
	CHECK(str_nearest("zzzzzz", words, 4) == NULL);
}

static void test_atomic_file(void)
{
	auto_error err = NULL;
	auto_free char *text = NULL;
	char dir[] = "/tmp/ember-unit-XXXXXX";
	auto_free char *path = NULL;
	auto_strv Strv names = { 0 };
	struct stat st;

	CHECK(mkdtemp(dir));
	path = path_join(dir, "a");
	CHECK_OK(fs_write_atomic(path, "one", 3, 0600, true, &err), err);
	CHECK_OK(fs_write_atomic(path, "two!", 4, 0600, false, &err), err);
	CHECK_OK(fs_read(path, 100, &text, NULL, &err), err);
	CHECK_STR(text, "two!");
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	CHECK_OK(fs_list(dir, &names, &err), err);
	CHECK_INT(names.count, 1);
	CHECK_FAILS(fs_read(path, 3, &text, NULL, &err), err, ERR_FAILED);
	CHECK_OK(fs_remove_tree(dir, &err), err);
	CHECK_OK(fs_remove_tree(dir, &err), err);
	CHECK_FAILS(fs_read(path, 3, &text, NULL, &err), err, ERR_NOT_FOUND);
}

static void test_locks(void)
{
	auto_error err = NULL;
	char dir[] = "/tmp/ember-unit-XXXXXX";
	auto_free char *path = NULL;
	auto_fd first = -1;
	auto_fd second = -1;

	CHECK(mkdtemp(dir));
	path = path_join(dir, "lock");
	CHECK_INT(fs_lock(path, LOCK_EXCLUSIVE, DEADLINE_NOW, &first, &err), 1);
	CHECK_INT(fs_lock(path, LOCK_SHARED, deadline_in_ms(20), &second, &err), 0);
	close_fd(&first);
	CHECK_INT(fs_lock(path, LOCK_SHARED, DEADLINE_NOW, &second, &err), 1);
	CHECK_INT(fs_lock(path, LOCK_SHARED, DEADLINE_NOW, &first, &err), 1);
	CHECK_OK(fs_remove_tree(dir, &err), err);
}

static void test_command_output(void)
{
	auto_error err = NULL;
	auto_command Command cmd = { 0 };

	command_init(&cmd, "sh", "-c", "printf '%s' \"$EMBER_X\"; echo noise >&2", NULL);
	command_add_env(&cmd, "EMBER_X", "hello");
	cmd.capture = true;
	CHECK_OK(command_run(&cmd, deadline_in_ms(5000), &err), err);
	CHECK_STR(strbuf_str(&cmd.output), "hello");
}

static void test_command_failure(void)
{
	auto_error err = NULL;
	auto_command Command cmd = { 0 };

	command_init(&cmd, "sh", "-c", "echo why >&2; exit 3", NULL);
	CHECK(command_run(&cmd, deadline_in_ms(5000), &err) < 0);
	CHECK_CONTAINS(error_text(err), "exit status 3");
	CHECK_STR(error_detail_text(err), "why\n");
}

static void test_command_missing(void)
{
	auto_error err = NULL;
	auto_command Command cmd = { 0 };

	command_init(&cmd, "ember-no-such-program", NULL);
	CHECK_FAILS(command_run(&cmd, deadline_in_ms(5000), &err), err, ERR_MISSING_TOOL);
}

static void test_command_deadline(void)
{
	auto_error err = NULL;
	auto_command Command cmd = { 0 };

	command_init(&cmd, "sleep", "60", NULL);
	CHECK_FAILS(command_run(&cmd, deadline_in_ms(50), &err), err, ERR_TIMEOUT);
}

static int count_ticks(pid_t pid, void *arg, Error **err)
{
	int *ticks = arg;
	uint64_t got = 0, put = 0;

	CHECK(os_process_io(pid, &got, &put) == 0);
	if (++*ticks < 3)
		return 0;
	return error_set(err, ERR_BUSY, "enough");
}

/* A child of ours that begins a program and is killed; its pid is what it said. */
static pid_t orphan(bool is_tied)
{
	int ends[2], status;
	pid_t child, pid = 0;

	CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		auto_command Command cmd = { 0 };

		command_init(&cmd, "sleep", "30", NULL);
		cmd.is_tied = is_tied;
		(void)command_spawn(&cmd, &pid, NULL);
		(void)!write(ends[1], &pid, sizeof(pid));
		(void)raise(SIGKILL);
	}
	CHECK_INT(waitpid(child, &status, 0), child);
	CHECK_INT(read(ends[0], &pid, sizeof(pid)), (int)sizeof(pid));
	(void)close(ends[0]);
	(void)close(ends[1]);
	CHECK(pid > 0);
	return pid;
}

static bool is_gone(pid_t pid, int patience_ms)
{
	auto_fd process = os_process_fd(pid);
	struct pollfd event = { .fd = process, .events = POLLIN };

	return process < 0 || poll(&event, 1, patience_ms) > 0;
}

static void test_command_tied(void)
{
	pid_t untied = orphan(false);

	CHECK(is_gone(orphan(true), 5000));
	CHECK(!is_gone(untied, 100));
	CHECK_INT(kill(untied, SIGKILL), 0);
	/* Who has ended already is noticed. */
	CHECK_INT(os_die_with(untied, SIGTERM), -1);
	CHECK_INT(errno, ESRCH);
}

static ProcEnd end_of(const char *program, const char *word, int signum, int *out_status)
{
	auto_command Command cmd = { 0 };
	ProcEnd end = { .signum = signum };

	command_init(&cmd, program, word, NULL);
	CHECK_INT(command_spawn(&cmd, &end.pid, NULL), 0);
	*out_status = proc_end(&end);
	return end;
}

static void test_proc_end(void)
{
	int status;

	CHECK(!end_of("false", NULL, 0, &status).out_was_ended);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	/* The cause of the trouble ends in a moment, and is not blamed for what we did to it. */
	CHECK(!end_of("sleep", "0.02", SIGKILL, &status).out_was_ended);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(end_of("sleep", "30", SIGKILL, &status).out_was_ended);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_command_tick(void)
{
	auto_command Command slow = { 0 };
	auto_command Command quick = { 0 };
	auto_error err = NULL;
	int64_t began = clock_monotonic_ns();
	int ticks = 0;

	command_init(&slow, "sleep", "20", NULL);
	slow.on_tick = count_ticks;
	slow.on_tick_arg = &ticks;
	CHECK_FAILS(command_run(&slow, DEADLINE_NEVER, &err), err, ERR_BUSY);
	CHECK_INT(ticks, 3);
	CHECK(clock_monotonic_ns() - began < 10000000000LL);

	command_init(&quick, "true", NULL);
	quick.on_tick = count_ticks;
	quick.on_tick_arg = &ticks;
	CHECK_OK(command_run(&quick, DEADLINE_NEVER, &err), err);
}

static void test_process_io(void)
{
	uint64_t read_before, written_before, read_after, written_after;
	char data[10000] = "";
	int ends[2];

	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	CHECK(os_process_io(getpid(), &read_before, &written_before) == 0);
	CHECK(write(ends[1], data, sizeof(data)) == (ssize_t)sizeof(data));
	CHECK(read(ends[0], data, sizeof(data)) == (ssize_t)sizeof(data));
	CHECK(os_process_io(getpid(), &read_after, &written_after) == 0);
	CHECK(read_after - read_before >= sizeof(data));
	CHECK(written_after - written_before >= sizeof(data));
	CHECK(!os_process_waits_for_disk(getpid()));
	(void)close(ends[0]);
	(void)close(ends[1]);
}

/* What a child is given as fd 3 it can open as often as it likes. */
static void test_memory_file(void)
{
	auto_command Command cmd = { 0 };
	auto_error err = NULL;
	auto_fd fd = os_memory_file("test");

	CHECK(fd >= 0 && write(fd, "secret\n", 7) == 7);
	command_init(&cmd, "sh", "-c", "cat /dev/fd/3 /dev/fd/3", NULL);
	cmd.pass_fd = fd;
	cmd.capture = true;
	CHECK_OK(command_run(&cmd, DEADLINE_NEVER, &err), err);
	CHECK_STR(strbuf_str(&cmd.output), "secret\nsecret\n");
}

static void test_proc_identity(void)
{
	auto_error err = NULL;
	ProcId self, other;

	CHECK_OK(proc_identify(getpid(), &self, &err), err);
	CHECK(proc_is_alive(&self));
	other = self;
	other.started++;
	CHECK(!proc_is_alive(&other));
	CHECK_INT(proc_wait_gone(&other, deadline_in_ms(10), &err), 1);
	CHECK_INT(proc_wait_gone(&self, deadline_in_ms(10), &err), 0);
}

static void test_json_getters(void)
{
	static const char text[] =
		"{\"a\":\"x\",\"n\":5,\"neg\":-1,\"l\":[\"p\",\"q\"],\"nul\":\"a\\u0000b\"}";
	static const char good[] = "{\"a\":\"x\",\"n\":5,\"neg\":-1,\"l\":[\"p\",\"q\"]}";
	auto_error err = NULL;
	json_auto_t *doc = NULL;
	auto_free char *value = NULL;
	auto_strv Strv list = { 0 };
	uint64_t number = 9;

	CHECK_FAILS(json_parse_text("{\"a\":1,\"a\":2}", 13, &doc, &err), err, ERR_FAILED);
	CHECK_FAILS(json_parse_text(text, sizeof(text) - 1, &doc, &err), err,
		    ERR_FAILED); /* \u0000 */
	CHECK_OK(json_parse_text(good, sizeof(good) - 1, &doc, &err), err);
	CHECK_OK(json_get_string(doc, "a", &value, &err), err);
	CHECK_STR(value, "x");
	CHECK_FAILS(json_get_string(doc, "b", &value, &err), err, ERR_FAILED);
	CHECK_FAILS(json_get_string(doc, "n", &value, &err), err, ERR_FAILED);
	CHECK_OK(json_get_u64_opt(doc, "none", 10, &number, &err), err);
	CHECK_INT(number, 9);
	CHECK_FAILS(json_get_u64(doc, "n", 4, &number, &err), err, ERR_FAILED);
	CHECK_FAILS(json_get_u64(doc, "neg", 4, &number, &err), err, ERR_FAILED);
	CHECK_OK(json_get_strv_opt(doc, "l", &list, &err), err);
	CHECK_INT(list.count, 2);
}

TEST_MAIN({ "an error carries message, context and the first hint", test_error_chain },
	  { "a NULL error sink is allowed", test_error_null },
	  { "strbuf never grows past its bound", test_strbuf_bound },
	  { "base64 of each length, padded or not", test_base64 },
	  { "numbers are parsed strictly", test_parse_u64 },
	  { "edit distance finds the nearest word", test_distance },
	  { "atomic files replace and protect", test_atomic_file }, { "locks exclude", test_locks },
	  { "a command's output and environment", test_command_output },
	  { "a failing command says why", test_command_failure },
	  { "a missing program is its own kind of error", test_command_missing },
	  { "a deadline stops a program", test_command_deadline },
	  { "a tied program ends with whoever began it", test_command_tied },
	  { "whose fault it was that a child ended", test_proc_end },
	  { "a program is watched, and ended by who watches", test_command_tick },
	  { "what a process reads and writes", test_process_io },
	  { "a file in memory, for a child", test_memory_file },
	  { "a process is its pid and its start time", test_proc_identity },
	  { "json fields are checked", test_json_getters });
