/*
 * console.log: what the guest writes to its serial port, through the hypervisor, which appends to the
 * file. A guest that never stops writing must not fill the host's disk, so the file is looked at now
 * and then, and when it is too large only its end is kept.
 */
#pragma once

#include "keeper/loop.h"

/* Longer than this is cut (guests write a few MB/s at most: it may be exceeded for a moment)... */
#define CONSOLE_BYTES_MAX (16 << 20)
/* ...to about this. */
#define CONSOLE_BYTES_KEPT (1 << 20)

typedef struct Console {
	Loop *loop;
	int fd;
	Timer timer;
} Console;

/* Watch vm_dir/console.log; `is_new` empties it first. */
int console_open(Console *console, Loop *loop, const char *vm_dir, bool is_new, Error **err);
/* Look at it now. The timer does so every few seconds. */
void console_check(Console *console);
void console_close(Console *console);
