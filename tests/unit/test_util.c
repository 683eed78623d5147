#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/deadline.h"
#include "util/error.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"
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
	  { "numbers are parsed strictly", test_parse_u64 },
	  { "edit distance finds the nearest word", test_distance },
	  { "atomic files replace and protect", test_atomic_file }, { "locks exclude", test_locks },
	  { "a command's output and environment", test_command_output },
	  { "a failing command says why", test_command_failure },
	  { "a missing program is its own kind of error", test_command_missing },
	  { "a deadline stops a program", test_command_deadline },
	  { "a process is its pid and its start time", test_proc_identity },
	  { "json fields are checked", test_json_getters });
