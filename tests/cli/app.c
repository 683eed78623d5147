/*
 * The one program of an image that has nothing else (mkoci, `static`): no shell, no /etc, no libc.
 *
 *	app serve WORD...	say who and where one is, with what words and variables; status 7
 *	app cat			copy stdin to stdout
 *	app exit N		end with status N
 *	app abort		end by a signal
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static void tell(int argc, char **argv)
{
	char cwd[4096] = "?";

	if (!getcwd(cwd, sizeof(cwd)))
		perror("getcwd");
	printf("app: uid=%u gid=%u cwd=%s\n", getuid(), getgid(), cwd);
	for (int i = 0; i < argc; i++)
		printf("app: word %d [%s]\n", i, argv[i]);
	for (char **variable = environ; *variable; variable++)
		printf("app: variable [%s]\n", *variable);
	(void)fflush(stdout);
	(void)fputs("app: on stderr\n", stderr);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int c;

	if (strcmp(what, "serve") == 0) {
		tell(argc, argv);
		return 7;
	}
	if (strcmp(what, "cat") == 0) {
		while ((c = getchar()) != EOF)
			(void)putchar(c);
		return 0;
	}
	if (strcmp(what, "exit") == 0 && argc == 3)
		return atoi(argv[2]);
	if (strcmp(what, "abort") == 0)
		abort();
	(void)fputs("usage: app serve|cat|exit N|abort\n", stderr);
	return 64;
}
