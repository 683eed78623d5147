#include "keeper/loop.h"

#include <errno.h>

#include "util/mem.h"

void loop_add(Loop *loop, Source *source)
{
	loop->sources = xreallocarray(loop->sources, loop->source_count + 1, sizeof(Source *));
	loop->sources[loop->source_count++] = source;
}

void loop_remove(Loop *loop, const Source *source)
{
	for (size_t i = 0; i < loop->source_count; i++)
		if (loop->sources[i] == source)
			loop->sources[i] = NULL;
}

void loop_drop_timer(Loop *loop, const Timer *timer)
{
	for (size_t i = 0; i < loop->timer_count; i++) {
		if (loop->timers[i] != timer)
			continue;
		loop->timers[i] = loop->timers[--loop->timer_count];
		return;
	}
}

void loop_set_timer(Loop *loop, Timer *timer, Deadline at)
{
	loop_drop_timer(loop, timer);
	timer->at = at;
	loop->timers = xreallocarray(loop->timers, loop->timer_count + 1, sizeof(Timer *));
	loop->timers[loop->timer_count++] = timer;
}

static Timer *next_timer(const Loop *loop)
{
	Timer *next = NULL;

	for (size_t i = 0; i < loop->timer_count; i++)
		if (!next || loop->timers[i]->at.at_ns < next->at.at_ns)
			next = loop->timers[i];
	return next;
}

static void run_timers(Loop *loop)
{
	Timer *timer;

	/* One that sets itself again for "now" must not keep the loop here. */
	for (size_t left = loop->timer_count; left > 0; left--) {
		timer = next_timer(loop);
		if (!timer || !deadline_passed(timer->at))
			return;
		loop_drop_timer(loop, timer);
		timer->fired(timer->arg);
	}
}

static void prepare_polls(Loop *loop)
{
	size_t kept = 0;

	for (size_t i = 0; i < loop->source_count; i++)
		if (loop->sources[i])
			loop->sources[kept++] = loop->sources[i];
	loop->source_count = kept;
	loop->polls = xreallocarray(loop->polls, kept + 1, sizeof(*loop->polls));
	for (size_t i = 0; i < kept; i++)
		loop->polls[i] = (struct pollfd){
			.fd = loop->sources[i]->fd,
			.events = loop->sources[i]->events,
		};
}

int loop_run(Loop *loop, Error **err)
{
	while (!loop->is_over) {
		const Timer *timer;
		size_t count;

		prepare_polls(loop);
		count = loop->source_count;
		timer = next_timer(loop);
		if (poll(loop->polls, count, timer ? deadline_poll_ms(timer->at) : -1) < 0) {
			if (errno != EINTR)
				return error_set_errno(err, errno, "wait for events");
			continue;
		}
		run_timers(loop);
		/* Sources that callbacks add stand behind `count`; `polls` does not move. */
		for (size_t i = 0; i < count; i++)
			if (loop->polls[i].revents && loop->sources[i])
				loop->sources[i]->ready(loop->sources[i]->arg,
							loop->polls[i].revents);
		loop->after(loop->after_arg);
	}
	return 0;
}

void loop_release(Loop *loop)
{
	free(loop->sources);
	free(loop->polls);
	free(loop->timers);
	*loop = (Loop){ 0 };
}
