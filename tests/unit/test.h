/*
 * A unit-test header that speaks TAP: each test is a function in a table, each CHECK says file,
 *line and both values.
 *
 *	static void test_sum(void)
 *	{
 *		CHECK_INT(1 + 1, 2);
 *	}
 *	TEST_MAIN({ "sums", test_sum });
 *
 * A failed CHECK ends its test, not the program. CHECK_OK prints the whole Error. test_skip("why")
 *skips.
 */
#pragma once

#include <inttypes.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Test {
	const char *name;
	void (*run)(void);
} Test;

/* Weak: one of each for all files of a program. */
__attribute__((weak)) jmp_buf test_escape;
__attribute__((weak)) const char *test_skip_reason;
enum { TEST_FAILED = 1, TEST_SKIPPED = 2 };

__attribute__((noreturn, unused)) static void test_fail(void)
{
	longjmp(test_escape, TEST_FAILED);
}

__attribute__((noreturn, unused)) static void test_skip(const char *reason)
{
	test_skip_reason = reason;
	longjmp(test_escape, TEST_SKIPPED);
}

#define CHECK(cond)                                                                   \
	do {                                                                          \
		if (!(cond)) {                                                        \
			printf("# %s:%d: not true: %s\n", __FILE__, __LINE__, #cond); \
			test_fail();                                                  \
		}                                                                     \
	} while (0)

#define CHECK_INT(got, want)                                                                 \
	do {                                                                                 \
		intmax_t got_ = (intmax_t)(got), want_ = (intmax_t)(want);                   \
		if (got_ != want_) {                                                         \
			printf("# %s:%d: %s is %" PRIdMAX ", want %" PRIdMAX "\n", __FILE__, \
			       __LINE__, #got, got_, want_);                                 \
			test_fail();                                                         \
		}                                                                            \
	} while (0)

#define CHECK_STR(got, want)                                                                 \
	do {                                                                                 \
		const char *got_ = (got), *want_ = (want);                                   \
		if (!got_ || !want_ || strcmp(got_, want_) != 0) {                           \
			printf("# %s:%d: %s is '%s', want '%s'\n", __FILE__, __LINE__, #got, \
			       got_ ? got_ : "(null)", want_ ? want_ : "(null)");            \
			test_fail();                                                         \
		}                                                                            \
	} while (0)

#define CHECK_CONTAINS(text, part)                                                           \
	do {                                                                                 \
		const char *text_ = (text), *part_ = (part);                                 \
		if (!text_ || !strstr(text_, part_)) {                                       \
			printf("# %s:%d: %s is '%s', want '%s' in it\n", __FILE__, __LINE__, \
			       #text, text_ ? text_ : "(null)", part_);                      \
			test_fail();                                                         \
		}                                                                            \
	} while (0)

/* `call` uses `&err` of the caller and must succeed; it must not leave an Error either. */
#define CHECK_OK(call, err)                                                            \
	do {                                                                           \
		if ((call) < 0) {                                                      \
			char *text_ = error_sentence(err);                             \
			printf("# %s:%d: %s: %s\n", __FILE__, __LINE__, #call, text_); \
			free(text_);                                                   \
			test_fail();                                                   \
		}                                                                      \
		CHECK(!(err));                                                         \
	} while (0)

/* `call` must fail with that code. Clears the Error so that it can be used again. */
#define CHECK_FAILS(call, err, code)                                                \
	do {                                                                        \
		CHECK((call) < 0);                                                  \
		CHECK(err);                                                         \
		CHECK_STR(error_code_word(error_code(err)), error_code_word(code)); \
		error_clear(&(err));                                                \
	} while (0)

__attribute__((unused)) static int test_main(const Test *tests, size_t count)
{
	volatile int failures = 0; /* survives longjmp */

	/* Line by line even into a pipe: a crash must not swallow what came before it. */
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%zu\n", count);
	for (size_t i = 0; i < count; i++) {
		switch (setjmp(test_escape)) {
		case 0:
			tests[i].run();
			printf("ok %zu - %s\n", i + 1, tests[i].name);
			break;
		case TEST_SKIPPED:
			printf("ok %zu - %s # SKIP %s\n", i + 1, tests[i].name,
			       test_skip_reason ? test_skip_reason : "");
			break;
		default:
			printf("not ok %zu - %s\n", i + 1, tests[i].name);
			failures++;
		}
	}
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define TEST_MAIN(...)                                                     \
	int main(void)                                                     \
	{                                                                  \
		static const Test tests[] = { __VA_ARGS__ };               \
		return test_main(tests, sizeof(tests) / sizeof(tests[0])); \
	}
