#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
/* What an init or a container engine would give; our own limits are for our many pipes. */
#define CHILD_FILES_SOFT 1024
#define CHILD_FILES_HARD 524288

static const char *find_variable(char *const *env, const char *name)
{
	size_t length = strlen(name);

	for (; *env; env++)
		if (strncmp(*env, name, length) == 0 && (*env)[length] == '=')
			return *env + length + 1;
	return NULL;
}

/* Text of the variables that the request leaves to us. */
typedef struct Defaults {
	char home[sizeof(((User *)0)->home) + 8];
	char user[sizeof(((User *)0)->name) + 8];
	char logname[sizeof(((User *)0)->name) + 12];
	char path[sizeof(DEFAULT_PATH) + 8];
} Defaults;

/* Add what is missing, in the room that request_parse() left for it. */
static void complete_environment(Request *request, const User *user, Defaults *texts)
{
	unsigned count = request->env_count;

	(void)snprintf(texts->home, sizeof(texts->home), "HOME=%s", user->home);
	(void)snprintf(texts->user, sizeof(texts->user), "USER=%s", user->name);
	(void)snprintf(texts->logname, sizeof(texts->logname), "LOGNAME=%s", user->name);
	(void)snprintf(texts->path, sizeof(texts->path), "PATH=%s", DEFAULT_PATH);
	if (!find_variable(request->env, "HOME"))
		request->env[count++] = texts->home;
	if (!find_variable(request->env, "USER"))
		request->env[count++] = texts->user;
	if (!find_variable(request->env, "LOGNAME"))
		request->env[count++] = texts->logname;
	if (!find_variable(request->env, "PATH"))
		request->env[count++] = texts->path;
}

/*
 * From here to execve(2) the code runs in a child of vfork(2), in the agent's memory: it must make
 * system calls only, and leave nothing behind but the failure.
 */

static void reset_process(void)
{
	struct rlimit files = { .rlim_cur = CHILD_FILES_SOFT, .rlim_max = CHILD_FILES_HARD };
	auto_fd oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	sigset_t none;

	/* The agent is exempt from the OOM killer, its children are not. */
	if (oom >= 0)
		(void)write_all(oom, "0", 1);
	(void)setrlimit(RLIMIT_NOFILE, &files);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The bare calls: the libc's would change all threads of the agent. */
static bool become(const User *user)
{
	/* Without privileges (in tests) we can only be who we are, and need no change. */
	if (geteuid() != 0 && user->uid == geteuid() && user->gid == getegid())
		return true;
	return syscall(SYS_setgroups, user->group_count, user->groups) == 0 &&
	       syscall(SYS_setgid, user->gid) == 0 && syscall(SYS_setuid, user->uid) == 0;
}

/* execvp(3) with the request's PATH. Returns the errno that tells most. */
static int run_program(const Request *request)
{
	const char *name = request->args[0], *path = find_variable(request->env, "PATH");
	char candidate[4096];
	int worst = ENOENT;

	if (strchr(name, '/')) {
		(void)execve(name, request->args, request->env);
		return errno;
	}
	for (;;) {
		size_t length = strcspn(path, ":");

		if (snprintf(candidate, sizeof(candidate), "%.*s/%s", (int)length,
			     length ? path : ".", name) < (int)sizeof(candidate)) {
			(void)execve(candidate, request->args, request->env);
			if (errno != ENOENT && errno != ENOTDIR)
				worst = errno;
			if (worst != ENOENT && worst != EACCES)
				return worst;
		}
		if (path[length] == '\0')
			return worst;
		path += length + 1;
	}
}

/* The three pipes of a child. [0] is read from, [1] written to; both ends closed on exec. */
typedef struct Pipes {
	int in[2], out[2], err[2];
} Pipes;

static void __attribute__((noreturn)) run_child(const Request *request, const User *user,
						const int fds[3], volatile SpawnFailure *failure)
{
	(void)setpgid(0, 0);
	reset_process();
	failure->stage = SPAWN_SETUP;
	for (int fd = 0; fd < 3; fd++)
		if (dup2(fds[fd], fd) < 0)
			goto fail;
	failure->stage = SPAWN_USER;
	if (!become(user))
		goto fail;
	failure->stage = SPAWN_CWD;
	if (request->cwd ? chdir(request->cwd) < 0 : chdir(user->home) < 0 && chdir("/") < 0)
		goto fail;
	failure->stage = SPAWN_EXEC;
	errno = run_program(request);
fail:
	failure->errnum = errno;
	_exit(127);
}

static void close_pipes(Pipes *pipes)
{
	for (int i = 0; i < 2; i++) {
		close_fd(&pipes->in[i]);
		close_fd(&pipes->out[i]);
		close_fd(&pipes->err[i]);
	}
}

static int open_pipes(Pipes *pipes, bool has_stdin)
{
	if (has_stdin ? pipe2(pipes->in, O_CLOEXEC) < 0
		      : (pipes->in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
		return -1;
	if (pipe2(pipes->out, O_CLOEXEC) < 0 || pipe2(pipes->err, O_CLOEXEC) < 0)
		return -1;
	if ((has_stdin && fcntl(pipes->in[1], F_SETFL, O_NONBLOCK) < 0) ||
	    fcntl(pipes->out[0], F_SETFL, O_NONBLOCK) < 0 ||
	    fcntl(pipes->err[0], F_SETFL, O_NONBLOCK) < 0)
		return -1;
	return 0;
}

/*
 * vfork(2) halves the time that `exec true` takes: no page tables are copied, and no page is copied
 * because it was written while shared. And the failure needs no pipe to come back.
 */
int spawn_on(Request *request, const User *user, const int fds[3], pid_t *out_pid,
	     SpawnFailure *out_failure)
{
	volatile SpawnFailure failure = { .errnum = 0 };
	Defaults texts = { .home = "" };
	pid_t pid;

	complete_environment(request, user, &texts);
	/* NOLINTBEGIN(clang-analyzer-security.insecureAPI.vfork,clang-analyzer-unix.Vfork) */
	pid = vfork();
	if (pid == 0)
		run_child(request, user, fds, &failure); /* it only makes system calls */
	/* NOLINTEND(clang-analyzer-security.insecureAPI.vfork,clang-analyzer-unix.Vfork) */
	if (pid < 0 || failure.errnum != 0) {
		out_failure->stage = failure.stage;
		out_failure->errnum = pid < 0 ? errno : failure.errnum;
		if (pid > 0)
			(void)waitpid(pid, NULL, 0);
		return -1;
	}
	*out_pid = pid;
	return 0;
}

int spawn(Request *request, const User *user, Spawned *out_child, SpawnFailure *out_failure)
{
	__attribute__((cleanup(close_pipes))) Pipes pipes = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	pid_t pid;

	if (open_pipes(&pipes, !(request->flags & WIRE_EXEC_NO_STDIN)) < 0) {
		*out_failure = (SpawnFailure){ .stage = SPAWN_SETUP, .errnum = errno };
		return -1;
	}
	if (spawn_on(request, user, (const int[3]){ pipes.in[0], pipes.out[1], pipes.err[1] }, &pid,
		     out_failure) < 0)
		return -1;
	*out_child = (Spawned){
		.pid = pid,
		.in = steal_fd(&pipes.in[1]),
		.out = steal_fd(&pipes.out[0]),
		.err = steal_fd(&pipes.err[0]),
	};
	return 0;
}
