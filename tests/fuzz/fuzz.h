/*
 * What every fuzz target includes. A target is one function over bytes from outside; it aborts where
 * a promise of the code under test is broken. It is built twice: as a libFuzzer program (-Dfuzz=true
 * with clang), and with replay.c as a plain test over tests/fuzz/corpus/NAME.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			(void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                                   \
		}                                                                                  \
	} while (0)
