/*
 * A file of the user's that is being made: it gets its name when it is whole and on the disk, so that whatever goes wrong
 * leaves what was there before as it was, and nothing behind. Only a kill may leave something, beside the file: FILE.ember-new
 * when it comes just before another file is replaced (the next time removes it), and FILE.ember-XXXXXX where the
 * filesystem has no files without a name, like NFS.
 */
#pragma once

#include <stdbool.h>

#include "ops/context.h"
#include "util/error.h"
#include "util/mem.h"

typedef struct OutFile {
	int fd;
	char *path; /* NULL: standard output */
	char *aside; /* its name until then, where the filesystem has no files without a name; else NULL */
	bool replace;
} OutFile;
#define OUT_FILE_NONE ((OutFile){ .fd = -1 })

/* "-" is standard output, unless that is a terminal (ERR_USAGE). A file that is there is refused without `replace`
 * (ERR_EXISTS), anything else that is there always. Until its commit nobody else can read it. */
int out_file_open(const char *path, bool replace, OutFile *out_file, Error **err);
/* What programs can open as its name while they have it as descriptor 3. */
#define OUT_FILE_PASSED "/dev/fd/3"
/* Its name that a power cut may still take is a warning. */
int out_file_commit(Context *ctx, OutFile *file, Error **err);
/* What was not committed is gone. */
void out_file_release(OutFile *file);
#define auto_out_file CLEANUP(out_file_release)
