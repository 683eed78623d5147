#include "util/failpoint.h"

#ifdef EMBER_FAILPOINTS
#include <signal.h>
#include <stdlib.h>
#include <string.h>

int failpoint(const char *step, Error **err)
{
	const char *fail = getenv("EMBER_FAIL_AT");
	const char *die = getenv("EMBER_KILL_AT");

	if (die && !strcmp(die, step))
		(void)raise(SIGKILL);
	if (fail && !strcmp(fail, step))
		return error_set(err, ERR_FAILED, "made to fail at step '%s'", step);
	return 0;
}
#endif
