#include "test.h"

#include <fcntl.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/plain.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "model/size.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"

static const Column columns[] = {
	{ "NAME", "name" }, { "CPUS", "cpus" }, { "SIZE", "size" }, { "NOTE", "note" }, { 0 }
};

static void fill(Table *table)
{
	table_init(table, columns);
	table_add_text(table, "web");
	table_add_count(table, 12);
	table_add_size(table, 1536 * MIB);
	table_add_text(table, "gr\xc3\xbc\xc3\x9f");
	table_add_text(table, "longer-name");
	table_add_none(table);
	table_add_size(table, 0);
	table_add_text(table, NULL);
}

static char *printed(const Table *table, bool is_colored)
{
	char *text = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&text, &len);

	table_print(table, stream, is_colored);
	(void)fclose(stream);
	return text;
}

static void test_table_text(void)
{
	auto_table Table table = { 0 };
	auto_free char *text = NULL;

	fill(&table);
	text = printed(&table, false);
	CHECK_STR(text, "NAME         CPUS     SIZE  NOTE\n"
			"web            12  1.5 GiB  gr\xc3\xbc\xc3\x9f\n"
			"longer-name     -      0 B  -\n");
}

static void test_table_json(void)
{
	auto_table Table table = { 0 };
	json_auto_t *doc = NULL;
	auto_free char *text = NULL;

	fill(&table);
	doc = table_to_json(&table);
	text = json_text(doc);
	CHECK_STR(
		text,
		"[{\"name\":\"web\",\"cpus\":12,\"size\":1610612736,\"note\":\"gr\xc3\xbc\xc3\x9f\"},"
		"{\"name\":\"longer-name\",\"cpus\":null,\"size\":0,\"note\":null}]");
}

static void test_table_hostile(void)
{
	static const Column one[] = { { "A", "a" }, { "B", "b" }, { 0 } };
	auto_table Table table = { 0 };
	auto_free char *text = NULL;

	table_init(&table, one);
	table_add_text(&table, "a\x1b[2J\nb\xff\xc2\x9b");
	table_add_mood(&table, "bad", MOOD_BAD);
	text = printed(&table, true);
	CHECK_STR(text, "A           B\na?[2J?b???  \033[31mbad\033[0m\n");
}

static void test_plain(void)
{
	PlainState state = PLAIN_TEXT;
	auto_strbuf Strbuf out = { 0 };
	static const char input[] = "a\x1b[31mb\x1b[0m\r\nc\rd\x1b]0;title\x07"
				    "e\x1b(Bf\x07g\xc2\x9bh\xc3\xa9\ti\x1b]8;;x\x1b\\j\n";

	/* Byte by byte, so that every sequence is split everywhere. */
	for (size_t i = 0; i + 1 < sizeof(input); i++)
		plain_filter(&state, input + i, 1, &out);
	CHECK_STR(strbuf_str(&out), "ab\nc\ndefgh\xc3\xa9\tij\n");
}

static void test_progress_line(void)
{
	auto_free char *step = progress_line("fetch\x1bkernel", 61500, 0, 0, 0, 80);
	auto_free char *bar = progress_line("import", 1500, 512 * MIB, GIB, 0, 100);
	auto_free char *fast = progress_line("fetch", 1500, 512 * MIB, GIB, 12 * MIB + 314573, 100);
	auto_free char *unknown = progress_line("import", 0, 512 * MIB, 0, 0, 80);
	auto_free char *narrow = progress_line("gr\xc3\xbc\xc3\x9f", 0, 0, 0, 0, 3);
	auto_free char *lengthy = progress_line(
		"fetch registry.example.org:5000/a/long/name:latest", 1500, MIB, 2 * MIB, MIB, 80);

	CHECK_STR(step, "fetch?kernel  1m01s");
	CHECK_STR(bar, "import  [############------------]  50%  512 MiB of 1 GiB  1.5 s");
	CHECK_STR(fast,
		  "fetch  [############------------]  50%  512 MiB of 1 GiB  12.3 MiB/s  1.5 s");
	CHECK_STR(unknown, "import  512 MiB  0.0 s");
	CHECK_STR(narrow, "gr\xc3\xbc");
	CHECK_STR(lengthy,
		  "fetch ...ong/name:latest  [#####-----]  50%  1 MiB of 2 MiB  1 MiB/s  1.5 s");
}

static void test_progress_rate(void)
{
	ProgressRate rate = { 0 };
	const int64_t second = 1000000000;
	double before;

	progress_rate_look(&rate, second, 0);
	progress_rate_look(&rate, 2 * second, 10 * MIB);
	CHECK(rate.per_second == 10.0 * MIB);
	/* A pause shows, but not at once. */
	progress_rate_look(&rate, 3 * second, 10 * MIB);
	CHECK(rate.per_second > 5.0 * MIB && rate.per_second < 10.0 * MIB);
	before = rate.per_second;
	progress_rate_look(&rate, 3 * second, 20 * MIB); /* no time has passed */
	CHECK(rate.per_second == before);
	for (int i = 4; i < 60; i++)
		progress_rate_look(&rate, i * second, 10 * MIB + (uint64_t)(i - 3) * MIB);
	CHECK(rate.per_second > 0.9 * MIB && rate.per_second < 1.1 * MIB);
	/* Begun again. */
	progress_rate_look(&rate, 60 * second, 1);
	CHECK(rate.per_second == 0);
}

/* What a pretended terminal gets. */
static char *progress_output(bool is_terminal, bool is_verbose, unsigned wait_ms, bool finish)
{
	char path[] = "/tmp/ember-progress-XXXXXX";
	auto_fd fd = mkstemp(path);
	Progress *progress = progress_new(fd, is_terminal, is_verbose);
	char *text = NULL;
	size_t len;

	progress_step(progress, "work");
	progress_bytes(progress, 1, 2);
	(void)usleep(wait_ms * 1000);
	if (finish)
		progress_step(progress, NULL);
	progress_free(progress);
	(void)fs_read(path, 1 << 20, &text, &len, NULL);
	(void)unlink(path);
	return text;
}

static void test_progress_delay(void)
{
	auto_free char *quick = progress_output(true, false, 20, true);
	auto_free char *piped = progress_output(false, false, 20, true);
	auto_free char *slow = progress_output(true, false, 700, true);
	auto_free char *failed = progress_output(true, false, 700, false);
	auto_free char *verbose = progress_output(false, true, 20, true);

	CHECK_STR(quick, "");
	CHECK_STR(piped, "");
	CHECK_CONTAINS(slow, "\r\033[Kwork  [####");
	CHECK_CONTAINS(slow, "\r\033[Kwork  2 B  2 B/s  0.7 s\n");
	CHECK(str_ends_with(failed, "\r\033[K"));
	CHECK_STR(verbose, "work  2 B  0.0 s\n");
}

static void test_progress_none(void)
{
	progress_step(NULL, "x");
	progress_bytes(NULL, 1, 2);
	progress_pause(NULL);
	progress_resume(NULL);
	progress_abandon(NULL);
	progress_free(NULL);
}

static void test_json_string(void)
{
	json_auto_t *good = output_json_string("gr\xc3\xbc\xc3\x9f");
	json_auto_t *bad = output_json_string("a\xff\n");
	json_auto_t *none = output_json_string(NULL);

	CHECK_STR(json_string_value(good), "gr\xc3\xbc\xc3\x9f");
	CHECK_STR(json_string_value(bad), "a??");
	CHECK(json_is_null(none));
}

TEST_MAIN({ "a table for people", test_table_text }, { "a table in JSON", test_table_json },
	  { "a table of hostile text", test_table_hostile },
	  { "what a guest wrote, made plain", test_plain },
	  { "lines of progress", test_progress_line }, { "how fast it goes", test_progress_rate },
	  { "progress waits, and only terminals see it", test_progress_delay },
	  { "no progress", test_progress_none }, { "strings of any bytes", test_json_string })
