/*
 * A process that goes its own way: no child of the caller's, with nothing of the caller's open, and not ended by what ends
 * the caller.
 */
#pragma once

/*
 * Run `run(arg)` there; it has `input` as its standard input (-1: none), `output` as its standard output, and nothing
 * else. It ends when `run` returns. 0, or -1 with errno.
 */
int apart_start(int input, int output, void (*run)(const void *arg), const void *arg);
