#include "kernel/decompress.h"

#include <errno.h>
#include <fcntl.h>

#include "util/mem.h"
#include "util/process.h"
#include "util/str.h"

#define TIMEOUT_MS 60000

static const struct {
	const char *suffix;
	const char *program;
} formats[] = {
	{ ".xz", "xz" },
	{ ".zst", "zstd" },
	{ ".gz", "gzip" },
};

int decompress_fd(const char *program, int in_fd, const char *out_path, Error **err)
{
	auto_command Command cmd = { 0 };
	auto_fd out_fd = open(out_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (out_fd < 0)
		return error_set_errno(err, errno, "make '%s'", out_path);
	command_init(&cmd, program, "-d", "-c", NULL);
	cmd.stdin_fd = in_fd;
	cmd.stdout_fd = out_fd;
	return command_run(&cmd, deadline_in_ms(TIMEOUT_MS), err);
}

const char *decompress_program(const char *file_name)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (str_ends_with(file_name, formats[i].suffix))
			return formats[i].program;
	return NULL;
}
