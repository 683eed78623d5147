/*
 * The login to a registry, on its way to skopeo: in a file in memory, since everybody may read a command line, and errors quote it.
 */
#pragma once

#include "util/error.h"

/* USER:PASSWORD? ERR_USAGE, which does not repeat it. */
int image_auth_check(const char *creds, Error **err);
/* An open file in memory, in the format of containers-auth.json(5), that logs in to that registry, or to none when
 * `creds` is NULL: the secret reaches no disk, whatever happens to us. */
int image_auth_open(const char *host, const char *creds, int *out_fd, Error **err);
