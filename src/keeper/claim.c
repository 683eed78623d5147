#include "keeper/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fs.h"
#include "util/mem.h"

#define LOCK_NAME "keeper.lock"

/* Is the locked file still the one in the directory? A leaving keeper removes it. */
static bool is_current(int dir_fd, int lock_fd)
{
	struct stat held, named;

	return fstat(lock_fd, &held) == 0 &&
	       fstatat(dir_fd, LOCK_NAME, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

int claim_take(const LaunchPlan *plan, Deadline until, Claim *out_claim, Error **err)
{
	auto_free char *path = path_join(plan->run_dir, LOCK_NAME);

	for (;;) {
		auto_error failure = NULL;
		auto_fd dir_fd = -1;
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
		/* Not there, or not with our lock in it: somebody removed it meanwhile. */
		dir_fd = open(plan->run_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir_fd < 0 && errno != ENOENT)
			return error_set_errno(err, errno, "open '%s'", plan->run_dir);
		if (dir_fd >= 0 && is_current(dir_fd, fd)) {
			*out_claim =
				(Claim){ .dir_fd = steal_fd(&dir_fd), .lock_fd = steal_fd(&fd) };
			return 0;
		}
	}
}

void claim_drop(const LaunchPlan *plan, Claim *claim)
{
	const char *const sockets[] = { plan->control_socket, plan->agent_socket,
					plan->keeper_socket };

	/* In our directory and by no path: somebody may have removed it under us, and a successor
	 * made it again. */
	if (claim->lock_fd >= 0 && is_current(claim->dir_fd, claim->lock_fd)) {
		for (size_t i = 0; i < ARRAY_SIZE(sockets); i++)
			(void)unlinkat(claim->dir_fd, path_basename(sockets[i]), 0);
		/* The lock last: who waits for it sees that it is not current any more. */
		(void)unlinkat(claim->dir_fd, LOCK_NAME, 0);
		/* Of a successor's directory this fails: it is not empty, or is made again. */
		(void)rmdir(plan->run_dir);
	}
	claim_release(claim);
}

void claim_release(Claim *claim)
{
	close_fd(&claim->lock_fd);
	close_fd(&claim->dir_fd);
}
