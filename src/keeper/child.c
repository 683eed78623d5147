#include "keeper/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "keeper/sockets.h"
#include "util/failpoint.h"
#include "util/mem.h"
#include "util/os.h"

/* Beyond the numbers that the hypervisor gets, so that no dup2 overwrites the source of another. */
#define FD_FLOOR 16

/* A listening socket that blocks, as programs expect the one they are handed to do. */
static int listen_for_child(const char *path, int *out_fd, Error **err)
{
	auto_fd fd = -1;
	int moved;

	if (socket_listen(path, &fd, err) < 0)
		return -1;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, FD_FLOOR);
	if (moved < 0 || fcntl(moved, F_SETFL, 0) < 0) {
		int saved = errno;

		close_fd(&moved);
		return error_set_errno(err, saved, "prepare the socket '%s'", path);
	}
	*out_fd = moved;
	return 0;
}

static int spawn(const LaunchPlan *plan, int log_fd, int control_fd, int agent_fd, pid_t *out_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t defaults, none;
	int failure;

	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawnattr_init(&attributes);
	(void)sigemptyset(&none);
	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGPIPE);
	(void)posix_spawnattr_setsigdefault(&attributes, &defaults);
	(void)posix_spawnattr_setsigmask(&attributes, &none);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
							    POSIX_SPAWN_SETSID);
	(void)posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	(void)posix_spawn_file_actions_adddup2(&actions, log_fd, STDOUT_FILENO);
	(void)posix_spawn_file_actions_adddup2(&actions, log_fd, STDERR_FILENO);
	(void)posix_spawn_file_actions_adddup2(&actions, control_fd, LAUNCH_CONTROL_FD);
	(void)posix_spawn_file_actions_adddup2(&actions, agent_fd, LAUNCH_AGENT_FD);
	(void)posix_spawn_file_actions_addclosefrom_np(&actions, LAUNCH_AGENT_FD + 1);
	failure = posix_spawn(out_pid, plan->argv.items[0], &actions, &attributes, plan->argv.items,
			      environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attributes);
	return failure;
}

int child_spawn(const LaunchPlan *plan, int log_fd, Child *out_child, Error **err)
{
	auto_fd control_fd = -1;
	auto_fd agent_fd = -1;
	Child child = { .is_ours = true };
	int failure, high_log_fd;

	if (failpoint("keeper.sockets", err) < 0 ||
	    listen_for_child(plan->control_socket, &control_fd, err) < 0 ||
	    listen_for_child(plan->agent_socket, &agent_fd, err) < 0 ||
	    failpoint("keeper.spawn", err) < 0)
		return -1;
	high_log_fd = fcntl(log_fd, F_DUPFD_CLOEXEC, FD_FLOOR);
	failure = high_log_fd < 0 ? errno
				  : spawn(plan, high_log_fd, control_fd, agent_fd, &child.id.pid);
	close_fd(&high_log_fd);
	if (failure)
		return error_set_errno(err, failure, "start '%s'", plan->argv.items[0]);
	/* Our child is not reaped before we look, so both of these speak of it; a zombie has no
	 * start time any more, but one that dies so early is found by its fd at once. */
	child.fd = os_process_fd(child.id.pid);
	(void)os_process_start_time(child.id.pid, &child.id.started);
	if (child.fd < 0) {
		int saved = errno;

		(void)kill(child.id.pid, SIGKILL);
		(void)waitpid(child.id.pid, NULL, 0);
		return error_set_errno(err, saved, "watch the hypervisor");
	}
	*out_child = child;
	return 0;
}

int child_adopt(const ProcId *id, Child *out_child, Error **err)
{
	Child child = { .id = *id, .fd = os_process_fd(id->pid) };

	/* The fd first: it pins whatever has that pid, and then the start time tells who it is. */
	if (child.fd >= 0 && proc_is_alive(id)) {
		*out_child = child;
		return 0;
	}
	child_release(&child);
	error_set(err, ERR_NOT_FOUND, "the hypervisor, process %d, has gone", (int)id->pid);
	return error_hint(err, "mend the records: ember reconcile");
}

void child_signal(const Child *child, int signum)
{
	if (child->fd >= 0)
		(void)os_process_signal(child->fd, signum);
}

int child_reap(Child *child)
{
	int raw = 0, status = -1;

	if (child->is_ours) {
		while (waitpid(child->id.pid, &raw, 0) < 0 && errno == EINTR)
			continue;
		status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
	}
	close_fd(&child->fd);
	return status;
}

void child_release(Child *child)
{
	close_fd(&child->fd);
}
