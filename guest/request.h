/*
 * An OPEN frame, decoded. All texts are borrowed from the frame, which lives only as long as the
 * handler of the frame runs: services copy what they keep.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/wire.h"

typedef struct Request Request;

struct Request {
	uint8_t service; /* WireService, 0 when the request names none */
	char **args; /* NULL-terminated, owned array of borrowed texts; NULL when there are none */
	char **env;  /* likewise, with REQUEST_ENV_SPARE free places behind the NULL */
	unsigned arg_count, env_count;
	const char *cwd, *user, *path, *name, *hostname, *id; /* NULL: absent */
	uint32_t flags, mode, uid, gid, timeout_ms;	      /* 0: absent */
	uint64_t size;
	bool has_mode, has_size, has_uid, has_gid;
};

/* Room for the variables that exec adds. */
#define REQUEST_ENV_SPARE 4

/* 0, or -1 when the frame is not a well-formed request (or memory ran out). */
int request_parse(const WireFrame *frame, Request *out_request);
void request_release(Request *request);
