#include "keeper/claim.h"

#include <sys/stat.h>
#include <unistd.h>

#include "util/fs.h"
#include "util/mem.h"

static char *lock_path(const LaunchPlan *plan)
{
	return path_join(plan->run_dir, "keeper.lock");
}

/* Is the locked file still the one at the path? A leaving keeper removes it. */
static bool is_current(const char *path, int fd)
{
	struct stat held, named;

	return fstat(fd, &held) == 0 && lstat(path, &named) == 0 && held.st_ino == named.st_ino &&
	       held.st_dev == named.st_dev;
}

int claim_take(const LaunchPlan *plan, Deadline until, int *out_fd, Error **err)
{
	auto_free char *path = lock_path(plan);

	for (;;) {
		auto_error failure = NULL;
		auto_fd fd = -1;
		int got;

		if (fs_mkdir(plan->run_dir, 0700, err) < 0)
			return -1;
		got = fs_lock(path, LOCK_EXCLUSIVE, until, &fd, &failure);
		/* The directory went away between the two. */
		if (got < 0 && error_code(failure) == ERR_NOT_FOUND && !deadline_passed(until))
			continue;
		if (got < 0) {
			error_move(err, &failure);
			return error_wrap(err, "claim the run directory of vm '%s'", plan->vm_name);
		}
		if (got == 0) {
			error_set(err, ERR_BUSY, "vm '%s' has a keeper already", plan->vm_name);
			return error_hint(err, "look at it: ember vm inspect %s", plan->vm_name);
		}
		if (is_current(path, fd)) {
			*out_fd = steal_fd(&fd);
			return 0;
		}
	}
}

void claim_drop(const LaunchPlan *plan, int *fd)
{
	auto_free char *path = lock_path(plan);
	const char *const sockets[] = { plan->control_socket, plan->agent_socket,
					plan->keeper_socket };

	/* Somebody may have removed the directory under us, and a successor made it again. */
	if (is_current(path, *fd)) {
		for (size_t i = 0; i < ARRAY_SIZE(sockets); i++)
			(void)unlink(sockets[i]);
		/* The lock last: who waits for it sees that it is not current any more. */
		(void)unlink(path);
		(void)rmdir(plan->run_dir);
	}
	close_fd(fd);
}
