/*
 * Are the blobs of a cache still what their digests say?
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/blob_file.h"
#include "image/commands.h"
#include "image/confine.h"
#include "image/digest.h"
#include "image/events.h"
#include "image/worker.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/str.h"

#define READ_BYTES     (1u << 20)
#define PROGRESS_BYTES (4u << 20)

static const char help[] =
	"usage: ember-image verify --blobs DIR DIGEST...\n"
	"\n"
	"Read blobs of DIR and compare them with their digests. The first that differs is the error.\n"
	"\n"
	"  --blobs DIR          a directory of blobs that layouts share\n"
	"  --help\n";

typedef struct Verify {
	int dir_fd;
	char **digests;
	int *fds; /* of each */
	size_t count;
	uint64_t total_bytes;
	uint64_t done_bytes;
	uint64_t told_bytes;
	char *bad_blob;
} Verify;

static void verify_release(Verify *verify)
{
	for (size_t i = 0; verify->fds && i < verify->count; i++)
		close_fd(&verify->fds[i]);
	close_fd(&verify->dir_fd);
	free(verify->fds);
	free(verify->bad_blob);
}

/* All of them before the first byte is read. */
static int open_all(Verify *verify, Error **err)
{
	verify->fds = xcalloc(verify->count, sizeof(*verify->fds));
	for (size_t i = 0; i < verify->count; i++)
		verify->fds[i] = -1;
	for (size_t i = 0; i < verify->count; i++) {
		const char *digest = verify->digests[i];
		struct stat st;

		if (blob_file_open(verify->dir_fd, digest, &st, &verify->fds[i], NULL) < 0) {
			str_assign(&verify->bad_blob, digest);
			return error_set(err, ERR_FAILED, "blob '%s' is not there", digest);
		}
		verify->total_bytes += (uint64_t)st.st_size;
	}
	return 0;
}

static int hash_file(Verify *verify, int fd, Hasher *hasher, Error **err)
{
	auto_free unsigned char *data = xmalloc(READ_BYTES);

	for (;;) {
		ssize_t got = read(fd, data, READ_BYTES);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(err, errno, "read a blob");
		if (got == 0)
			return 0;
		hasher_add(hasher, data, (size_t)got);
		verify->done_bytes += (uint64_t)got;
		if (verify->done_bytes < verify->told_bytes + PROGRESS_BYTES)
			continue;
		verify->told_bytes = verify->done_bytes;
		event_progress(verify->done_bytes, verify->total_bytes);
	}
}

static int check_blob(Verify *verify, size_t index, Error **err)
{
	const char *digest = verify->digests[index];
	CLEANUP(hasher_release) Hasher hasher = { 0 };
	auto_free char *found = NULL;

	hasher_init(&hasher, digest);
	if (hash_file(verify, verify->fds[index], &hasher, err) < 0)
		return -1;
	found = hasher_finish(&hasher);
	if (str_equal(found, digest))
		return 0;
	str_assign(&verify->bad_blob, digest);
	return error_set(err, ERR_FAILED, "blob '%s' is not what its digest says", digest);
}

static int work(void *arg, void *report, Error **err)
{
	Verify *verify = arg;

	(void)report;
	if (confine_begin(&verify->dir_fd, 1, err) < 0 || open_all(verify, err) < 0 ||
	    confine_finish(err) < 0)
		return -1;
	for (size_t i = 0; i < verify->count; i++)
		if (check_blob(verify, i, err) < 0)
			return -1;
	event_verified(verify->done_bytes);
	return 0;
}

static int refuse(const char *what, const char *word, Error **err)
{
	error_set(err, ERR_USAGE, "%s '%s'", what, word);
	return error_hint(err, "see: ember-image verify --help");
}

static int parse(int argc, char *argv[], Verify *verify, bool *out_help, Error **err)
{
	static const struct option words[] = {
		{ "blobs", required_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *dir = NULL;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", words, NULL)) != -1) {
		if (option == 'b')
			dir = optarg;
		else if (option == 'h')
			*out_help = true;
		else
			return refuse("an option is unknown or lacks its value:", argv[optind - 1],
				      err);
	}
	verify->digests = argv + optind;
	verify->count = (size_t)(argc - optind);
	if (*out_help)
		return 0;
	if (!dir || !verify->count)
		return refuse("missing:", dir ? "DIGEST" : "--blobs", err);
	for (size_t i = 0; i < verify->count; i++)
		if (!digest_is_valid(verify->digests[i]))
			return refuse("this is no digest:", verify->digests[i], err);
	verify->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return verify->dir_fd < 0 ? error_set_errno(err, errno, "open '%s'", dir) : 0;
}

int command_verify(int argc, char *argv[])
{
	CLEANUP(verify_release) Verify verify = { .dir_fd = -1 };
	Worker worker = {
		.title = "blob reader", .run = work, .arg = &verify, .bad_blob = &verify.bad_blob
	};
	auto_error error = NULL;
	bool wants_help = false;
	int status;

	if (parse(argc, argv, &verify, &wants_help, &error) < 0)
		return worker_report(error);
	if (wants_help) {
		(void)fputs(help, stdout);
		return EXIT_SUCCESS;
	}
	status = worker_run(&worker, &error);
	return status < 0 ? worker_report(error) : status;
}
