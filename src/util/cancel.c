#include "util/cancel.h"

#include <signal.h>

static volatile sig_atomic_t requested;

static void on_signal(int signum)
{
	(void)signum;
	requested = 1;
}

void cancel_install(void)
{
	/* No SA_RESTART: a blocked wait must come back and look. SA_RESETHAND: the second one
	 * kills. */
	struct sigaction catch = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction former;

	(void)sigaction(SIGINT, &catch, NULL);
	(void)sigaction(SIGTERM, &catch, NULL);
	/* nohup means it. */
	if (sigaction(SIGHUP, NULL, &former) == 0 && former.sa_handler != SIG_IGN)
		(void)sigaction(SIGHUP, &catch, NULL);
	(void)sigaction(SIGPIPE, &ignore, NULL);
}

bool cancel_requested(void)
{
	return requested != 0;
}

int cancel_check(Error **err)
{
	if (!requested)
		return 0;
	return error_set(err, ERR_CANCELED, "interrupted");
}
