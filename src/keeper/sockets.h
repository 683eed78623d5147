/*
 * Unix sockets by path: close-on-exec, non-blocking, 0600.
 */
#pragma once

#include "util/error.h"

/* A listening socket at `path`, replacing what a dead process left there. */
int socket_listen(const char *path, int *out_fd, Error **err);
int socket_connect(const char *path, int *out_fd, Error **err);
