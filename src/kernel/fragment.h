/*
 * Fragments: which options a kernel must have.
 *
 * The lines are those of a kernel's .config (Documentation/kbuild/kconfig.rst of the Linux source): CONFIG_NAME=value, or
 * "# CONFIG_NAME is not set". A line that begins with "#? " is a wish: no complaint when the source does not know the
 * option or cannot set it. Later lines replace earlier ones. Modules are refused: a microVM boots with its kernel alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"
#include "util/str.h"

typedef struct FragmentOption {
	char *name;  /* CONFIG_VIRTIO_BLK */
	char *value; /* as written: y, 64, "text"; n: not set */
	bool is_wish;
} FragmentOption;

typedef struct Fragment {
	FragmentOption *items; /* sorted by name */
	size_t count;
} Fragment;

#define FRAGMENT_MAX (1U << 20) /* bytes of a file; a whole .config is 150 KB */

/* Add what `text` says to what the fragment has; `what` names it in errors (ERR_USAGE). */
int fragment_add(Fragment *fragment, const char *text, const char *what, Error **err);
/* The same of a file. ERR_NOT_FOUND. */
int fragment_add_file(Fragment *fragment, const char *path, Error **err);
void fragment_release(Fragment *fragment);
#define auto_fragment CLEANUP(fragment_release)

/* As lines of a .config: the same for fragments that ask for the same; owned. */
char *fragment_text(const Fragment *fragment);
/* The lines that did not take effect in the text of a .config. */
void fragment_missing(const Fragment *fragment, const char *config, Strv *out_lines);
