/*
 * A connection from `ember` to a VM's keeper: requests to the keeper itself and, through it, to the
 * agent in the guest (agent/wire.h is the protocol).
 *
 * One request at a time. Every wait ends at its deadline and on Ctrl-C (ERR_CANCELED; the request is
 * then aborted in the guest too). The guest may be hostile: what it sends is bounded and checked,
 * its texts are made printable, and a breach of the protocol is ERR_FAILED. A keeper that is gone is
 * ERR_NOT_FOUND when connecting and ERR_FAILED later; a guest whose agent does not answer (not yet,
 * or not any more) is ERR_STATE.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/wire.h"
#include "util/compiler.h"
#include "util/deadline.h"
#include "util/error.h"
#include "util/process.h"
#include "util/str.h"

typedef struct Client Client;

int client_open(const char *keeper_socket, Deadline until, Client **out_client, Error **err);
void client_close(Client *client); /* NULL is fine */

static inline void cleanup_client_ptr(Client **client)
{
	client_close(*client);
}
#define auto_client CLEANUP(cleanup_client_ptr) Client *

/*
 * The keeper's own services.
 */
typedef struct VmStatus {
	char *state; /* starting, running, paused, stopping */
	bool agent_ready;
	bool can_resize_disk;
	bool can_switch_disk;
	uint64_t session;   /* of the agent's channel; another one means the guest began anew */
	uint64_t uptime_ms; /* of the hypervisor */
	ProcId hypervisor;
} VmStatus;

void vm_status_release(VmStatus *status);
#define auto_vm_status CLEANUP(vm_status_release)

int client_status(Client *client, Deadline until, VmStatus *out_status, Error **err);
/* Wait until the guest's agent answers. ERR_TIMEOUT at the deadline, ERR_STATE when the VM ends
 * before. */
int client_wait_ready(Client *client, Deadline until, Error **err);
/* Shut it down, in the orderly way for `timeout_ms`, then by force; returns when the hypervisor has
 * gone, the disk is free and the run directory removed. *out_reason (owned, may be NULL): as in
 * ExitReport; "killed" says that the guest had to be forced. */
int client_stop(Client *client, uint32_t timeout_ms, char **out_reason, Error **err);
int client_kill(Client *client, Error **err);
/* Already so is success. A VM whose disk takes no writes goes on by itself, and cannot be resumed before (ERR_STATE). */
int client_pause(Client *client, Deadline until, Error **err);
int client_resume(Client *client, Deadline until, Error **err);
/* Tell the guest that its disk is that large, which the volume is already; never smaller than it was. */
int client_disk_resize(Client *client, uint64_t size_bytes, Deadline until, Error **err);
/* From its return on the guest writes to that qcow2 file, whose backing file is what its disk was until now. */
int client_disk_switch(Client *client, const char *overlay, Deadline until, Error **err);

/*
 * What lasts until it is ended, or its client is closed, or this process dies.
 */
typedef struct Hold {
	Client *client; /* borrowed; good for nothing else meanwhile */
	uint32_t stream;
} Hold;

typedef struct HoldEnd {
	uint64_t held_us; /* how long it stood still, as seen by who held it */
	bool is_expired;  /* it went on before it was ended: its time was over */
} HoldEnd;

/* The guest syncs its filesystems and freezes them, for at most `hold_ms`. */
int client_freeze(Client *client, uint32_t hold_ms, Deadline until, Hold *out_hold, Error **err);
/* The vCPUs stand still, for at most `hold_ms`; a VM that was paused before stays so afterwards. */
int client_hold(Client *client, uint32_t hold_ms, Deadline until, Hold *out_hold, Error **err);
int client_hold_end(Hold *hold, Deadline until, HoldEnd *out_end, Error **err);

/*
 * The guest's services.
 */
typedef struct AgentInfo {
	char *version;
	uint64_t uptime_ms;    /* of the guest */
	int64_t round_trip_ns; /* of this ping */
} AgentInfo;

void agent_info_release(AgentInfo *info);
#define auto_agent_info CLEANUP(agent_info_release)

int client_ping(Client *client, Deadline until, AgentInfo *out_info, Error **err);

/* Let the host have back what the guest's root filesystem does not use. *out_bytes: how much of it the
 * disk had not been told of before. It may take any time, as long as the agent answers meanwhile: ERR_TIMEOUT when it has
 * been silent for `silence_ms`. ERR_UNSUPPORTED where the guest cannot. */
int client_trim(Client *client, int64_t silence_ms, uint64_t *out_bytes, Error **err);

/* Grow its root filesystem to its disk, as large as the guest sees that. *out_bytes: what it then has. */
int client_resize_fs(Client *client, Deadline until, uint64_t *out_bytes, Error **err);

typedef struct ExecRequest {
	const Strv *argv; /* at least one word */
	const Strv *env;  /* K=V; may be NULL */
	const char *cwd;  /* NULL: the user's home */
	const char *user; /* NULL: root */
	int stdin_fd;	  /* -1: the command reads end-of-file */
	int stdout_fd;	  /* -1, here too: dropped */
	int stderr_fd;
	void (*silent)(void *arg); /* called for each second in which nothing came; may be NULL */
	void *silent_arg;
} ExecRequest;

/* How a command in the guest ended. */
typedef enum ExecEnd {
	EXEC_EXITED,	 /* status */
	EXEC_SIGNALED,	 /* status is the signal */
	EXEC_NOT_STARTED /* error and message say why */
} ExecEnd;

typedef struct ExecResult {
	ExecEnd end;
	int status;
	WireError error;
	char *message;
} ExecResult;

void exec_result_release(ExecResult *result);
#define auto_exec_result CLEANUP(exec_result_release)

/* Run a command and pump the descriptors until it has ended and all its output is written. When the
 * reader of stdout goes away (`| head`), the command is aborted and the result is SIGPIPE's. The
 * descriptors may be anything; they are neither closed nor changed. SIGPIPE must be ignored. */
int client_exec(Client *client, const ExecRequest *request, ExecResult *out_result, Error **err);
/* What a shell would say: the status, 128+n, 127 not found, 126 not started for another reason. */
int exec_result_status(const ExecResult *result);

/* Called now and then with the bytes done and the whole (0: unknown). May be NULL. */
typedef void (*ClientProgress)(void *arg, uint64_t done, uint64_t total);

typedef struct PutRequest {
	int fd;		  /* read to its end */
	const char *path; /* absolute; a directory takes `name` */
	const char *name; /* may be NULL */
	uint32_t mode;	  /* permission bits */
	bool has_size;	  /* `fd` must then give exactly that much */
	uint64_t size_bytes;
	ClientProgress progress;
	void *arg;
} PutRequest;

/* Write a file in the guest: the whole file appears, or nothing changes. */
int client_put_file(Client *client, const PutRequest *request, uint64_t *out_bytes, Error **err);

typedef struct GuestFile {
	uint64_t size_bytes;
	uint32_t mode; /* permission bits */
	uint32_t uid, gid;
	uint64_t mtime;
} GuestFile;

/* Read a file of the guest into `fd`. `begin` (may be NULL) is called with what it is before the
 * content, and may refuse (-1). The bytes that arrive are never more than that size, unless it is 0, which files in /proc have
 * whatever is in them. */
typedef struct GetRequest {
	const char *path;
	int fd;
	int (*begin)(void *arg, const GuestFile *file, Error **err);
	ClientProgress progress;
	void *arg; /* for both */
} GetRequest;

int client_get_file(Client *client, const GetRequest *request, GuestFile *out_file, Error **err);
