#include "util/deadline.h"

#include <limits.h>
#include <time.h>

#define NS_PER_MS 1000000LL

int64_t clock_monotonic_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

Deadline deadline_in_ms(int64_t ms)
{
	int64_t now = clock_monotonic_ns();

	if (ms < 0 || ms > (INT64_MAX - now) / NS_PER_MS)
		return DEADLINE_NEVER;
	return (Deadline){ now + ms * NS_PER_MS };
}

bool deadline_passed(Deadline until)
{
	return until.at_ns != INT64_MAX && clock_monotonic_ns() >= until.at_ns;
}

int deadline_poll_ms(Deadline until)
{
	int64_t left;

	if (until.at_ns == INT64_MAX)
		return -1;
	left = until.at_ns - clock_monotonic_ns();
	if (left <= 0)
		return 0;
	left = (left + NS_PER_MS - 1) / NS_PER_MS;
	return left > INT_MAX ? INT_MAX : (int)left;
}

Deadline deadline_sooner(Deadline until, int64_t ms)
{
	Deadline other = deadline_in_ms(ms);

	return other.at_ns < until.at_ns ? other : until;
}
