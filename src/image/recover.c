#include "image/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "image/confine.h"
#include "image/extfs.h"
#include "image/worker.h"
#include "util/failpoint.h"
#include "util/mem.h"
#include "util/process.h"

#define DISK_FD	     3	 /* where e2fsck finds the disk */
#define FIXED	     3	 /* exit statuses 0 to 3: nothing wrong is left */
#define CUT_SHORT    8	 /* a bit of it: an operational error, e2fsck(8) */
#define CANNOT_START 100 /* no exit status of e2fsck's */

typedef struct Job {
	const char *program;
	int fd;
	const RootDisk *disk;
} Job;

static int take_fds(const Job *job, Error **err)
{
	auto_fd null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* Its chatter must not come between the events; dup2() also lets the disk stay open. */
	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0 ||
	    dup2(null_fd, STDERR_FILENO) < 0)
		return error_set_errno(err, errno, "open '/dev/null'");
	if (job->fd == DISK_FD ? fcntl(DISK_FD, F_SETFD, 0) < 0 : dup2(job->fd, DISK_FD) < 0)
		return error_set_errno(err, errno, "hand over the disk");
	return 0;
}

static int start(const Job *job, int *out_stdout, Error **err)
{
	/* A filesystem that claims to be larger than its disk does not make it so. */
	const ProgramNeeds needs = { .program = job->program,
				     .read_fd = -1,
				     .write_fd = DISK_FD,
				     .is_privileged = true,
				     .max_bytes = job->disk->size };
	char name[64];
	char *const argv[] = { (char *)(uintptr_t)job->program, (char *)(uintptr_t) "-fy", name,
			       NULL };
	char *const env[] = { (char *)(uintptr_t) "LC_ALL=C", NULL };

	(void)snprintf(name, sizeof(name), "/dev/fd/%d?offset=%" PRIu64, DISK_FD,
		       job->disk->place.offset);
	*out_stdout = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, DISK_FD + 1);
	if (take_fds(job, err) < 0 || confine_program(&needs, err) < 0)
		return -1;
	(void)execve(job->program, argv, env);
	return error_set_errno(err, errno, "run '%s'", job->program);
}

static int work(void *arg, void *report, Error **err)
{
	int stdout_fd = -1;

	(void)report;
	(void)start(arg, &stdout_fd, err);
	if (stdout_fd >= 0)
		(void)dup2(stdout_fd, STDOUT_FILENO);
	(void)worker_report(*err);
	_exit(CANNOT_START);
}

static char *find_program(void)
{
	char *program = program_find("e2fsck");

	/* The PATH of a user often lacks it. */
	if (!program)
		program = program_find("/usr/sbin/e2fsck");
	return program ? program : program_find("/sbin/e2fsck");
}

static int recover(const char *path, const RootDisk *disk, Error **err)
{
	auto_free char *program = find_program();
	auto_fd fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	Job job = { program, fd, disk };
	Worker worker = { .title = "repair (e2fsck)", .run = work, .arg = &job };
	int status;

	if (fd < 0) {
		error_set_errno(err, errno, "open '%s' for writing", path);
		return error_hint(err, "see who may write it: ls -l '%s'", path);
	}
	if (!program) {
		error_set(err, ERR_MISSING_TOOL, "there is no program 'e2fsck'");
		return error_hint(err, "apt-get install e2fsprogs");
	}
	if (failpoint("image.disk.recover", err) < 0)
		return -1;
	status = worker_run(&worker, err);
	/* Having begun with a backup of the superblock it replays the journal and then cannot go on. Now the first one is good. */
	if (status > 0 && status != CANNOT_START && status & CUT_SHORT && !worker.was_ended)
		status = worker_run(&worker, err);
	if (status < 0 || worker.was_ended)
		return status;
	if (status == CANNOT_START)
		return EXIT_FAILURE;
	/* Once it has replayed a journal e2fsck (1.47) opens the disk again, and forgets that the filesystem does not begin
	 * where the disk does. The changes are in their places by then; who reads the disk next will see. */
	if (status <= FIXED || disk->place.offset > 0)
		return 0;
	error_set(err, ERR_FAILED, "e2fsck cannot repair the filesystem (exit status %d)", status);
	return error_hint(err, "see what it says: e2fsck -fn '%s'", path);
}

/* What comes back from the worker that looks for the filesystem. */
typedef struct Found {
	DiskPlace place;
	bool needs_recovery;
} Found;

static int look(void *arg, void *report, Error **err)
{
	RootDisk *disk = arg;
	auto_extfs Extfs fs = { 0 };
	Found *found = report;

	if (confine_begin(NULL, 0, err) < 0 || confine_finish(err) < 0 ||
	    root_disk_find(disk, err) < 0)
		return -1;
	/* One that is too damaged to be opened needs it most of all. */
	found->needs_recovery = root_disk_mount(disk, &fs, NULL) < 0 || fs.needs_recovery;
	found->place = disk->place;
	return 0;
}

int recover_where_needed(const char *path, RootDisk *disk, Error **err)
{
	Found found = { 0 };
	Worker looker = {
		.title = "disk reader",
		.run = look,
		.arg = disk,
		.report = &found,
		.report_size = sizeof(found),
	};
	int status = worker_run(&looker, err);

	if (status != 0)
		return status;
	disk->place = found.place;
	disk->is_found = true;
	return found.needs_recovery ? recover(path, disk, err) : 0;
}
