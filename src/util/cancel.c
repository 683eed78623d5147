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
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND };

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGHUP, &action, NULL);
	action = (struct sigaction){ .sa_handler = SIG_IGN };
	(void)sigaction(SIGPIPE, &action, NULL);
}

bool cancel_requested(void)
{
	return requested != 0;
}

int cancel_check(Error **err)
{
	if (!requested)
		return 0;
	error_set(err, ERR_CANCELED, "interrupted");
	return error_hint(err, "what was begun has been undone; run the command again when ready");
}
