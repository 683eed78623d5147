#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base.h"
#include "cmdline.h"
#include "document.h"
#include "request.h"
#include "spawn.h"
#include "users.h"

#define DOCUMENT	   "/usr/lib/ember/image.json"
#define DOCUMENT_MAX	   ((size_t)4 * 1024 * 1024)
#define ENVIRONMENT_PREFIX "ember.env="

bool command_is_wanted(const char *cmdline)
{
	return cmdline_has(cmdline, "ember.run=1");
}

static unsigned count_of(char *const *list)
{
	unsigned count = 0;

	while (list && list[count])
		count++;
	return count;
}

/* Set a variable in a list that has room for it. */
static void set_variable(Request *request, char *variable)
{
	size_t length = strcspn(variable, "=") + 1;

	for (unsigned i = 0; i < request->env_count; i++)
		if (strncmp(request->env[i], variable, length) == 0) {
			request->env[i] = variable;
			return;
		}
	request->env[request->env_count++] = variable;
}

/* Cut the words of the command line, whose copy this is, apart at its spaces, and keep the variables. */
static void add_variables(Request *request, char *words)
{
	char *word;

	while ((word = strsep(&words, " \t\n")) != NULL) {
		char *variable = word + strlen(ENVIRONMENT_PREFIX);

		if (strncmp(word, ENVIRONMENT_PREFIX, strlen(ENVIRONMENT_PREFIX)) == 0 &&
		    percent_decode(variable) && strchr(variable, '='))
			set_variable(request, variable);
	}
}

/* Entrypoint and cmd in a row, and the image's environment with that of the command line on top. */
static bool make_request(const Document *document, char *words, Request *request)
{
	unsigned entries = count_of(document->entrypoint), args = entries + count_of(document->cmd);

	request->args = calloc(args + 1, sizeof(request->args[0]));
	/* A variable takes two bytes of the command line or more. */
	request->env = calloc(count_of(document->env) + strlen(words) / 2 + 1 + REQUEST_ENV_SPARE,
			      sizeof(request->env[0]));
	if (!request->args || !request->env)
		return false;
	for (; request->arg_count < args; request->arg_count++)
		request->args[request->arg_count] =
			request->arg_count < entries ? document->entrypoint[request->arg_count]
						     : document->cmd[request->arg_count - entries];
	for (char **variable = document->env; variable && *variable; variable++)
		if (strchr(*variable, '='))
			set_variable(request, *variable);
	add_variables(request, words);
	if (document->workdir && document->workdir[0])
		request->cwd = document->workdir;
	return true;
}

static pid_t run(Request *request, const char *user_name)
{
	auto_fd null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	auto_fd console = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	SpawnFailure failure;
	User user;
	pid_t pid;

	if (request->arg_count == 0) {
		complain("the image names no command");
		return -1;
	}
	if (!user_find("", user_name, &user)) {
		complain("cannot run '%s': no user or group '%s'", request->args[0], user_name);
		return -1;
	}
	if (spawn_on(request, &user, (const int[3]){ null, console, console }, &pid, &failure) <
	    0) {
		complain("cannot run '%s'%s: %s", request->args[0],
			 failure.stage == SPAWN_CWD    ? " in its directory"
			 : failure.stage == SPAWN_USER ? " as its user"
						       : "",
			 strerror(failure.errnum));
		return -1;
	}
	return pid;
}

pid_t command_start(const char *cmdline)
{
	char *text = read_file(DOCUMENT, DOCUMENT_MAX), *words = strdup(cmdline);
	char named[256] = "";
	Document document = { 0 };
	Request request = { 0 };
	pid_t pid = -1;

	if (!text)
		complain("cannot read " DOCUMENT ": %s", strerror(errno));
	else if (!document_parse(text, &document))
		complain(DOCUMENT " is not what ember wrote");
	else if (!words || !make_request(&document, words, &request))
		complain("cannot run the image's command: out of memory");
	else if (cmdline_value(cmdline, "ember.user", named, sizeof(named)) &&
		 percent_decode(named))
		pid = run(&request, named);
	else
		pid = run(&request, document.user && document.user[0] ? document.user : "0");
	request_release(&request);
	document_release(&document);
	free(words);
	return pid;
}

void command_report(int wait_status)
{
	if (WIFSIGNALED(wait_status))
		complain("the image's command was killed by signal %d", WTERMSIG(wait_status));
	else
		complain("the image's command ended with status %d", WEXITSTATUS(wait_status));
}
