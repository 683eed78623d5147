/*
 * The init role: the first program of every guest.
 */
#pragma once

/*
 * As PID 1: make the machine ready, start the agent, then become the image's own init, or stay and
 * reap when it has none. Does not return.
 *
 * Kernel command line: ip= (net.h), ember.id=UUID and ember.hostname=NAME (identity.h), and
 * ember.init=PATH to choose the image's init, or ember.init=none to ignore it.
 */
void init_run(void) __attribute__((noreturn));
