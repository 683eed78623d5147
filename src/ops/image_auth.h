/*
 * The login to a registry, on its way to skopeo: in a file, since everybody may read a command line, and errors quote it.
 */
#pragma once

#include "util/error.h"

/* USER:PASSWORD? ERR_USAGE, which does not repeat it. */
int image_auth_check(const char *creds, Error **err);
/* A new file, 0600, in the format of containers-auth.json(5), that logs in to that registry. The caller removes it. */
int image_auth_write(const char *path, const char *host, const char *creds, Error **err);
