/*
 * Programs and processes.
 *
 * A Command is an argv that is built by setters which cannot fail and run once, without a shell,
 * with a deadline. Zero is empty. A missing program is ERR_MISSING_TOOL with the Debian package
 * that has it as a hint; a program that fails is ERR_FAILED with its command line in the message
 * and the tail of its stderr as detail. Ctrl-C ends the program too.
 *
 * A ProcId is a process for good: a pid is reused, a pid with its start time is not.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/compiler.h"
#include "util/deadline.h"
#include "util/error.h"
#include "util/str.h"

typedef struct ProcId {
	pid_t pid;	  /* 0: none */
	uint64_t started; /* as os_process_start_time() tells it */
} ProcId;

/* The id of a living process; ERR_NOT_FOUND when it has gone. */
int proc_identify(pid_t pid, ProcId *out_id, Error **err);
bool proc_is_alive(const ProcId *id);
/* Signal it if it is still the same process; gone is success. */
int proc_signal(const ProcId *id, int signum, Error **err);
/* Wait until it has gone: 1 gone, 0 deadline, -1 error (Ctrl-C included). Needs not be our child.
 */
int proc_wait_gone(const ProcId *id, Deadline until, Error **err);

/* How a child is ended that makes something for us, or takes it from us, through a pipe. */
typedef struct ProcEnd {
	pid_t pid;
	int signum;	    /* what ends it; 0: it ends by itself */
	bool is_leader;	    /* so that its session gets the signal */
	bool out_was_ended; /* by that signal */
} ProcEnd;

/* Reap it; its wait status. With a signal, because what is at the other end has failed: was the child the cause of that? It
 * has a moment to end by itself. The pipe must still be open, since one that has only lost the other end waits there. */
int proc_end(ProcEnd *end);

typedef struct Command {
	Strv argv;
	Strv env;	   /* NAME=VALUE added to (or replacing) our environment */
	const char *dir;   /* working directory; NULL: ours */
	int stdin_fd;	   /* -1: /dev/null */
	int stdout_fd;	   /* -1: captured when `capture`, else /dev/null */
	int stderr_fd;	   /* -1: its tail is kept for the error */
	bool capture;	   /* keep stdout in `output`, at most output_max bytes */
	size_t output_max; /* 0: 4 MiB */
	Strbuf output;	   /* filled by command_run */
	bool join_stderr;  /* stderr goes where stdout goes; the tail of both is kept */
	bool is_undo;	   /* goes on after Ctrl-C: it takes back what was begun */
	bool new_session;  /* setsid */
	bool is_tied; /* ends with us (SIGTERM), however we end; what it starts is its own affair */
	int pass_fd;  /* -1, or a descriptor handed to the program as fd 3 */
	void (*on_line)(const char *line,
			void *arg); /* each line of stdout as it comes, instead of `output` */
	void *on_line_arg;
	/* About every COMMAND_TICK_MS while the program runs, with its pid: to watch it. -1 ends the program, and that
	 * is the error of command_run. */
	int (*on_tick)(pid_t pid, void *arg, Error **err);
	void *on_tick_arg;
} Command;

#define COMMAND_TICK_MS 100

void command_init(Command *cmd, const char *program, ...) SENTINEL;
/* The same for a program that may be missing (ERR_MISSING_TOOL, before anything is begun), tied to us. */
int command_init_tool(Command *cmd, const char *program, Error **err);
void command_add(Command *cmd, const char *word);
void command_addf(Command *cmd, const char *fmt, ...) PRINTF(2, 3);
void command_add_env(Command *cmd, const char *name, const char *value);
/* The command line as a person would type it. */
char *command_text(const Command *cmd);

/* Run to the end: 0 only for exit status 0. */
int command_run(Command *cmd, Deadline until, Error **err);
/* The same for a program that writes files: where what it said is that the disk is full, the error is the ENOSPC of `what`, in place of
 * a line for each file. It must speak English: LC_ALL=C. */
int command_run_writer(Command *cmd, Deadline until, const char *what, Error **err);
/* Start and leave running; stderr_fd/stdout_fd as set. */
int command_spawn(Command *cmd, pid_t *out_pid, Error **err);

void command_release(Command *cmd);
#define auto_command CLEANUP(command_release)

/* Is the program on PATH (or at the path)? The full path, owned, or NULL. */
char *program_find(const char *name);
/* The same for a program of administrators, which are not on everybody's PATH, not even on that of `su`. */
char *program_find_admin(const char *name);
/* The Debian package that has it, NULL: not one that we know of. */
const char *program_package(const char *name);
/* "apt-get install qemu-system-x86": a hint for a missing program; a general one for programs we do
 * not know. */
char *program_install_hint(const char *name);
