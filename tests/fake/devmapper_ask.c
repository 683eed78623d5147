/*
 * devmapper-ask WORD...: tell the device mapper of tests/fake/devmapper something, and print its answer. A program of its own
 * because thin_ls is one question, and asked all the time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX (8U << 20)

/* Zero, then the words as a list in JSON; they hold nothing that would have to be quoted. */
static size_t print_question(char **words, char *out, size_t size)
{
	size_t len = 4;

	memset(out, 0, len);
	for (int i = 0; words[i] && len < size; i++)
		len += (size_t)snprintf(out + len, size - len, "%s\"%s\"", i ? "," : "[", words[i]);
	if (len < size)
		len += (size_t)snprintf(out + len, size - len, "]");
	return len < size ? len : 0;
}

/* The length of the answer, or -1. */
static ssize_t ask(const char *path, const char *question, size_t len, char *out_answer)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int line = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ssize_t got = -1;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (line >= 0 && connect(line, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    send(line, question, len, 0) == (ssize_t)len)
		got = recv(line, out_answer, ANSWER_MAX, 0);
	(void)close(line);
	return got;
}

int main(int argc, char **argv)
{
	const char *path = getenv("EMBER_FAKE_DM");
	char *answer = malloc(ANSWER_MAX);
	char question[4096];
	size_t len = print_question(argv + 1, question, sizeof(question));
	ssize_t got = -1;
	int failed = 0;

	if (argc < 2 || !path || !answer || !len) {
		fprintf(stderr, "usage: devmapper-ask WORD..., below tests/fake/devmapper\n");
		free(answer);
		return 2;
	}
	got = ask(path, question, len, answer);
	if (got >= (ssize_t)sizeof(failed))
		memcpy(&failed, answer, sizeof(failed));
	if (got < (ssize_t)sizeof(failed) || failed)
		fprintf(stderr, "%s: %s\n", argv[1], failed ? strerror(failed) : "no answer");
	else if (got > (ssize_t)sizeof(failed))
		printf("%.*s\n", (int)(got - (ssize_t)sizeof(failed)), answer + sizeof(failed));
	free(answer);
	return got < (ssize_t)sizeof(failed) || failed;
}
