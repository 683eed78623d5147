#include "ops/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "ops/image_helper.h"
#include "util/fs.h"
#include "util/mem.h"

#define LOG_MAX 4096

int unpacker_start(const char *program, int from_fd, const char *dir, Unpacker *out_unpacker,
		   Error **err)
{
	auto_unpacker Unpacker unpacker = { .program = program, .fd = -1 };
	auto_command Command cmd = { 0 };
	auto_fd write_end = -1;
	auto_fd log = -1;
	int ends[2];

	if (image_confined_init(&cmd, program, err) < 0)
		return -1;
	if (dir) {
		unpacker.log = xasprintf("%s/%s.log", dir, program);
		log = open(unpacker.log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	}
	if ((dir && log < 0) || pipe2(ends, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "prepare to unpack");
	unpacker.fd = ends[0];
	write_end = ends[1];
	command_add(&cmd, "-dc");
	cmd.stdin_fd = from_fd;
	cmd.stdout_fd = write_end;
	cmd.stderr_fd = log;
	if (command_spawn(&cmd, &unpacker.pid, err) < 0)
		return -1;
	*out_unpacker = unpacker;
	unpacker = (Unpacker){ .fd = -1 };
	return 0;
}

int unpacker_finish(Unpacker *unpacker, bool stop_it, Error **err)
{
	ProcEnd end = { .pid = unpacker->pid, .signum = stop_it ? SIGKILL : 0 };
	auto_free char *text = NULL;
	int status;

	if (!stop_it)
		close_fd(&unpacker->fd);
	status = proc_end(&end);
	unpacker->pid = 0;
	if (end.out_was_ended)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	error_set(err, ERR_USAGE, "'%s' cannot unpack it: it is damaged", unpacker->program);
	if (unpacker->log && fs_read(unpacker->log, LOG_MAX, &text, NULL, NULL) == 0)
		error_detail(err, text);
	return error_hint(err, "get the file again, and compare its checksum");
}

void unpacker_release(Unpacker *unpacker)
{
	close_fd(&unpacker->fd);
	if (unpacker->pid > 0) {
		(void)kill(unpacker->pid, SIGKILL);
		(void)waitpid(unpacker->pid, NULL, 0);
	}
	free(unpacker->log);
	*unpacker = (Unpacker){ .fd = -1 };
}
