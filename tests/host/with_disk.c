/*
 * with-disk VOLUME COMMAND ARG...: run the command with $DISK naming the volume, of the installation
 * in $EMBER_STATE_DIR. For tests that write to a disk as a hypervisor would, without one. Ends with
 * the command's exit status, or 125.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ops/context.h"

static int run(char **argv)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 125;
	return WEXITSTATUS(status);
}

static int run_with(Context *ctx, const char *volume, char **argv, int *out_status, Error **err)
{
	auto_storage_disk StorageDisk disk = { 0 };

	if (context_init(ctx, NULL, err) < 0 || context_load(ctx, err) < 0 ||
	    context_attach_disk(ctx, volume, &disk, err) < 0)
		return -1;
	(void)setenv("DISK", disk.path, 1);
	*out_status = run(argv);
	return ctx->storage->detach ? ctx->storage->detach(ctx->pool, volume, err) : 0;
}

int main(int argc, char **argv)
{
	auto_error err = NULL;
	Context ctx = { 0 };
	int status = 125;

	if (argc < 3) {
		fprintf(stderr, "usage: with-disk VOLUME COMMAND ARG...\n");
		return 125;
	}
	if (run_with(&ctx, argv[1], argv + 2, &status, &err) < 0) {
		char *text = error_sentence(err);

		fprintf(stderr, "with-disk: %s\n", text);
		free(text);
		status = 125;
	}
	context_release(&ctx);
	return status;
}
